//! `amime completions`: the script that completes `amime` in a shell.

use clap::CommandFactory;
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the script that completes amime's commands and options in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amime completions bash > ~/.local/share/bash-completion/completions/amime
  amime completions zsh > ~/.zfunc/_amime
  amime completions fish > ~/.config/fish/completions/amime.fish")]
pub(crate) struct Args {
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "amime", &mut script);
    // Through one write: a pipe that closes early (`| head`) is an error to report, not a panic.
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
    Ok(ExitCode::SUCCESS)
}
