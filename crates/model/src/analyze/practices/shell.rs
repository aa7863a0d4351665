//! Whether a shell script ends its sidecar on every way through it, whatever commands fail. The practice about Jobs asks.
//!
//! Each command may succeed or fail, but for those that never do; the script is walked with the set of states that it may
//! be in. What is beyond this reading (here documents, `case`, substituted processes) is an error, and nothing is told.

use super::shell_syntax::{Command, Item, parse};
use std::collections::{BTreeMap, BTreeSet};

/// On which ways through a script the sidecar is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Always,
    /// Not where a command fails, or one succeeds.
    Sometimes,
    Never,
}

/// What a shell may be in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    failed: bool,
    /// The sidecar was told to end.
    quit: bool,
    /// The shell tells it when it ends.
    trap: bool,
    /// `set -e`.
    stops: bool,
}

type States = BTreeSet<State>;

/// Calls within calls, and scripts within scripts.
const DEPTH: usize = 20;

/// Commands that are looked at, for functions may call one another many times.
const STEPS: usize = 10_000;

/// None: the script is beyond this reading.
pub(super) fn ends(script: &str, stops: bool) -> Option<Ends> {
    let mut shell = Shell::default();
    let all = shell.script(script, State { stops, ..State::default() }, DEPTH)?;
    Some(match (all.contains(&true), all.contains(&false)) {
        (true, false) => Ends::Always,
        (true, true) => Ends::Sometimes,
        (false, _) => Ends::Never,
    })
}

/// The script that a command line gives to a shell, and whether it stops at the first failure (`sh -ec`).
pub(super) fn script_of(words: &[String]) -> Option<(&str, bool)> {
    let shell = words.iter().position(|word| SHELLS.contains(&base(word)))?;
    let mut stops = false;
    let mut rest = words[shell + 1..].iter();
    while let Some(option) = rest.next() {
        let flags = option.strip_prefix('-').filter(|flags| !flags.starts_with('-'));
        let Some(flags) = flags else {
            if SHELLS.contains(&option.as_str()) || option.starts_with("--") {
                continue;
            }
            return None;
        };
        stops |= flags.contains('e');
        if flags.contains('c') {
            return rest.next().map(|script| (script.as_str(), stops));
        }
        if flags.ends_with('o') {
            stops |= rest.next().is_some_and(|name| name == "errexit");
        }
    }
    None
}

pub(super) const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "ksh", "zsh", "busybox"];

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether the command tells the sidecar to end: by its page, which takes POST alone, or by a signal.
fn tells(words: &[String]) -> bool {
    let named = |names: &[&str]| words.iter().any(|word| names.contains(&base(word)));
    if named(&["kill", "pkill", "killall"]) {
        return words.iter().any(|word| word.contains("pilot-agent") || base(word) == "envoy");
    }
    words.iter().any(|word| word.contains("quitquitquit")) && (!named(&["curl", "wget"]) || posts(words))
}

/// Whether curl or wget would use POST.
fn posts(words: &[String]) -> bool {
    let next_is_post = |at: usize| words.get(at + 1).is_some_and(|word| word == "POST");
    words.iter().enumerate().any(|(at, word)| match word.strip_prefix("--") {
        Some("request" | "method") => next_is_post(at),
        Some("request=POST" | "method=POST" | "json") => true,
        Some(option) => ["data", "post-data", "post-file", "json="].iter().any(|start| option.starts_with(start)),
        None => word.strip_prefix('-').is_some_and(|flags| match flags.split_once('X') {
            Some((_, "")) => next_is_post(at),
            Some((_, method)) => method == "POST",
            None => {
                flags.split(|c: char| !c.is_ascii_alphabetic()).next().is_some_and(|letters| letters.ends_with('d'))
            }
        }),
    })
}

#[derive(Default)]
struct Shell {
    functions: BTreeMap<String, Command>,
    /// Whether the sidecar was told to end, of each way on which the shell ended.
    ended: BTreeSet<bool>,
    steps: usize,
}

impl Shell {
    /// Of each way through a script: whether the sidecar was told to end.
    fn script(&mut self, script: &str, state: State, depth: usize) -> Option<BTreeSet<bool>> {
        let list = parse(script)?;
        // A trap may name one that is written below it.
        for item in &list {
            if let Command::Function(name, body) = &item.first {
                self.functions.insert(name.clone(), (**body).clone());
            }
        }
        let outer = std::mem::take(&mut self.ended);
        let last = self.list(&list, States::from([state]), false, depth)?;
        let mut ended = std::mem::replace(&mut self.ended, outer);
        ended.extend(last.iter().map(|state| state.quit || state.trap));
        Some(ended)
    }

    fn end(&mut self, state: State) {
        self.ended.insert(state.quit || state.trap);
    }

    /// `guarded`: a failure stops nothing, for somebody looks at it.
    fn list(&mut self, list: &[Item], mut states: States, guarded: bool, depth: usize) -> Option<States> {
        for item in list {
            if item.background {
                let inner = self.subshell(&states, depth, |shell, start| shell.chain(item, start, true, depth))?;
                states = inner.into_iter().map(|state| State { failed: false, ..state }).collect();
            } else {
                states = self.chain(item, states, guarded, depth)?;
            }
        }
        Some(states)
    }

    /// Commands between `&&` and `||`.
    fn chain(&mut self, item: &Item, states: States, guarded: bool, depth: usize) -> Option<States> {
        let last = item.rest.len();
        let mut states = self.command(&item.first, states, guarded || last > 0, depth)?;
        for (at, (and, command)) in item.rest.iter().enumerate() {
            let (run, skip): (States, States) = states.into_iter().partition(|state| state.failed != *and);
            states = self.command(command, run, guarded || at + 1 < last, depth)?;
            states.extend(skip);
        }
        Some(states)
    }

    fn command(&mut self, command: &Command, states: States, guarded: bool, depth: usize) -> Option<States> {
        let depth = depth.checked_sub(1)?;
        self.steps += 1;
        if self.steps > STEPS {
            return None;
        }
        match command {
            Command::Simple(words) => self.simple(words, states, guarded, depth),
            Command::Group(list) => self.list(list, states, guarded, depth),
            Command::Subshell(list) => {
                let after = self.subshell(&states, depth, |shell, start| shell.list(list, start, guarded, depth))?;
                Some(self.stop_at_failures(after, guarded))
            }
            Command::Pipe(parts) => {
                let mut states = states;
                for part in parts {
                    states = self.subshell(&states, depth, |shell, start| shell.command(part, start, true, depth))?;
                }
                Some(self.stop_at_failures(states, guarded))
            }
            Command::Not(inner) => {
                let after = self.command(inner, states, true, depth)?;
                Some(after.into_iter().map(|state| State { failed: !state.failed, ..state }).collect())
            }
            Command::If(branches, otherwise) => {
                let mut states = states;
                let mut after = States::new();
                for (condition, body) in branches {
                    let (fails, holds): (States, States) =
                        self.list(condition, states, true, depth)?.into_iter().partition(|state| state.failed);
                    after.extend(self.list(body, holds, guarded, depth)?);
                    states = fails;
                }
                match otherwise {
                    Some(body) => after.extend(self.list(body, states, guarded, depth)?),
                    None => after.extend(states.into_iter().map(|state| State { failed: false, ..state })),
                }
                Some(after)
            }
            Command::Loop { condition, body } => {
                // Once round is enough to know what it may do; that it ends is taken for granted.
                let looked = self.list(condition, states, true, depth)?;
                let mut after = self.list(body, looked.clone(), guarded, depth)?;
                after.extend(looked.into_iter().filter(|_| !is_endless(condition)));
                Some(after.into_iter().map(|state| State { failed: false, ..state }).collect())
            }
            Command::For(body) => self.list(body, states, guarded, depth),
            Command::Function(name, body) => {
                self.functions.insert(name.clone(), (**body).clone());
                Some(states)
            }
        }
    }

    /// What a shell of its own does to the outer one: the sidecar may have been told, and it may have failed.
    fn subshell(
        &mut self,
        states: &States,
        depth: usize,
        run: impl Fn(&mut Self, States) -> Option<States>,
    ) -> Option<States> {
        depth.checked_sub(1)?;
        let mut after = States::new();
        for state in states {
            let outer = std::mem::take(&mut self.ended);
            let last = run(self, States::from([State { trap: false, ..*state }]))?;
            let ended = std::mem::replace(&mut self.ended, outer);
            after.extend(last.into_iter().map(|inner| {
                let quit = inner.quit || inner.trap;
                State { failed: inner.failed, quit, ..*state }
            }));
            after.extend(either(ended, *state));
        }
        Some(after)
    }

    fn stop_at_failures(&mut self, states: States, guarded: bool) -> States {
        let (stopped, on) = states.into_iter().partition(|state| state.failed && state.stops && !guarded);
        let stopped: States = stopped;
        stopped.into_iter().for_each(|state| self.end(state));
        on
    }

    fn simple(&mut self, words: &[String], states: States, guarded: bool, depth: usize) -> Option<States> {
        let command = words.iter().position(|word| !is_assignment(word));
        let Some((name, rest)) = command.and_then(|at| words[at..].split_first()) else {
            let runs = words.iter().any(|word| word.contains("$(") || word.contains('`'));
            return Some(if runs { self.unknown(words, states, guarded) } else { succeed(states) });
        };
        match name.as_str() {
            "exit" => states.into_iter().for_each(|state| self.end(state)),
            // Another program takes the shell's place, and its traps are gone.
            "exec" if !rest.is_empty() => {
                let states = states.into_iter().map(|state| State { trap: false, ..state }).collect();
                let last = self.simple(rest, states, true, depth.checked_sub(1)?)?;
                last.into_iter().for_each(|state| self.end(state));
            }
            "set" => return Some(states.into_iter().map(|state| set(state, rest)).collect()),
            "trap" => return self.trap(rest, states, depth),
            "return" | "eval" | "source" | "." => return None,
            "false" => {
                let failed = states.into_iter().map(|state| State { failed: true, ..state }).collect();
                return Some(self.stop_at_failures(failed, guarded));
            }
            "true" | ":" | "echo" | "printf" | "sleep" | "export" | "local" | "readonly" | "unset" | "exec"
            | "date" | "break" | "continue" | "shift" | "umask" => return Some(succeed(states)),
            name => {
                if let Some(body) = self.functions.get(name).cloned() {
                    return self.command(&body, states, guarded, depth);
                }
                if let Some((script, stops)) = script_of(words) {
                    let mut after = States::new();
                    for state in states {
                        let start = State { quit: state.quit, stops, ..State::default() };
                        after.extend(either(self.script(script, start, depth)?, state));
                    }
                    return Some(self.stop_at_failures(after, guarded));
                }
                return Some(self.unknown(words, states, guarded));
            }
        }
        Some(States::new())
    }

    /// A program that may fail, and may be the one that tells the sidecar.
    fn unknown(&mut self, words: &[String], states: States, guarded: bool) -> States {
        let tells = tells(words);
        let both = |state: State| [true, false].map(|failed| State { failed, quit: state.quit || tells, ..state });
        self.stop_at_failures(states.into_iter().flat_map(both).collect(), guarded)
    }

    fn trap(&mut self, words: &[String], states: States, depth: usize) -> Option<States> {
        let words: Vec<&String> = words.iter().filter(|word| *word != "--").collect();
        let Some((action, signals)) = words.split_first() else { return Some(succeed(states)) };
        if !signals.iter().any(|signal| matches!(signal.as_str(), "EXIT" | "0" | "exit")) {
            return Some(succeed(states));
        }
        let trap = *action != "-" && !self.script(action, State::default(), depth)?.contains(&false);
        Some(states.into_iter().map(|state| State { trap, failed: false, ..state }).collect())
    }
}

/// After a shell of its own that ended so, by an exit code that nobody knows.
fn either(ended: BTreeSet<bool>, state: State) -> impl Iterator<Item = State> {
    ended.into_iter().flat_map(move |quit| [true, false].map(|failed| State { failed, quit, ..state }))
}

fn succeed(states: States) -> States {
    states.into_iter().map(|state| State { failed: false, ..state }).collect()
}

fn is_endless(condition: &[Item]) -> bool {
    let [Item { first: Command::Simple(words), rest, .. }] = condition else { return false };
    rest.is_empty() && matches!(words.as_slice(), [word] if word == "true" || word == ":")
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// `set -e`, `set +e`, `set -euo pipefail`, `set -o errexit`.
fn set(state: State, words: &[String]) -> State {
    let mut stops = state.stops;
    for (at, word) in words.iter().enumerate() {
        let named = words.get(at + 1).is_some_and(|name| name == "errexit");
        match word.split_at_checked(1) {
            Some(("-", flags)) if flags.contains('e') || (flags.ends_with('o') && named) => stops = true,
            Some(("+", flags)) if flags.contains('e') || (flags.ends_with('o') && named) => stops = false,
            _ => {}
        }
    }
    State { stops, failed: false, ..state }
}

#[cfg(test)]
#[path = "shell_tests.rs"]
mod tests;
