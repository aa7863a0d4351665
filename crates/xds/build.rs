//! Makes the descriptors that `json` turns Envoy's protobufs to JSON by.
//!
//! envoy-types exports no descriptors, but its package carries the .proto files that its types were made
//! of. They are compiled here, so that descriptors and types are always of one version and nothing of
//! theirs has to be kept in this repository.

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The package whose .proto files are compiled.
const PACKAGE: &str = "envoy-types";

/// The folders of `proto` that imports are looked for in.
const INCLUDES: [&str; 7] = [
    "data-plane-api",
    "xds",
    "googleapis",
    "protoc-gen-validate",
    "cel-spec/proto",
    "client_model",
    "opentelemetry-proto",
];

/// All that a configuration may hold: the resource types, and whatever an `Any` in one may be.
const ALL: [&str; 4] = ["envoy/admin/v3", "envoy/config", "envoy/extensions", "envoy/type"];

/// What `encode` writes. A proxy that shows its configuration reads these alone: all of them take 20 MB of memory.
const USUAL: [&str; 25] = [
    "envoy/config/cluster/v3",
    "envoy/config/endpoint/v3",
    "envoy/config/listener/v3",
    "envoy/config/route/v3",
    "envoy/extensions/access_loggers/file/v3",
    "envoy/extensions/clusters/dynamic_forward_proxy/v3",
    "envoy/extensions/filters/http/cors/v3",
    "envoy/extensions/filters/http/dynamic_forward_proxy/v3",
    "envoy/extensions/filters/http/fault/v3",
    "envoy/extensions/filters/http/router/v3",
    "envoy/extensions/filters/listener/http_inspector/v3",
    "envoy/extensions/filters/listener/original_dst/v3",
    "envoy/extensions/filters/listener/proxy_protocol/v3",
    "envoy/extensions/filters/listener/tls_inspector/v3",
    "envoy/extensions/filters/network/http_connection_manager/v3",
    "envoy/extensions/filters/network/sni_cluster/v3",
    "envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3",
    "envoy/extensions/filters/network/tcp_proxy/v3",
    "envoy/extensions/formatter/req_without_query/v3",
    "envoy/extensions/load_balancing_policies",
    "envoy/extensions/retry",
    "envoy/extensions/transport_sockets/proxy_protocol/v3",
    "envoy/extensions/transport_sockets/raw_buffer/v3",
    "envoy/extensions/transport_sockets/tls/v3",
    "envoy/extensions/upstreams/http/v3",
];

fn main() {
    if let Err(error) = run() {
        panic!("descriptors of Envoy's types: {error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let lock = manifest.join("../../Cargo.lock");
    let proto = package_folder(&manifest, &lock, &out)?.join("proto");
    // Another version of the package is another line of the lock file; its folder never changes.
    for path in [Path::new("build.rs"), Path::new("proto"), &lock] {
        println!("cargo:rerun-if-changed={}", path.display());
    }

    let own = manifest.join("proto");
    fs::write(out.join("envoy.bin"), compile(&proto, &own, &ALL)?)?;
    fs::write(out.join("usual.bin"), compile(&proto, &own, &USUAL)?)?;
    Ok(())
}

/// The descriptors of the files below these folders, and of all that they import.
fn compile(proto: &Path, own: &Path, roots: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    let envoy = proto.join("data-plane-api");
    let mut files = Vec::new();
    for root in roots {
        collect(&envoy, root, &mut files)?;
    }
    files.sort();
    files.extend(["typed_struct.proto".into(), "typed_struct_udpa.proto".into()]);
    let mut sources = ChainFileResolver::new();
    sources.add(Unambiguous { folder: envoy });
    for folder in INCLUDES[1..].iter().map(|folder| proto.join(folder)).chain([own.to_path_buf()]) {
        sources.add(IncludeFileResolver::new(folder));
    }
    sources.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(sources);
    compiler.include_imports(true).include_source_info(false).open_files(files)?;
    Ok(compiler.encode_file_descriptor_set())
}

/// Finds Envoy's own files, and says in full what they name of others: protox also takes packages that a
/// file does not import for the meaning of a name's first part, and then finds too little in them
/// (`config.core.v3.HttpUri` of `envoy.config`, once there is an `envoy.extensions.config` as well).
struct Unambiguous {
    folder: PathBuf,
}

impl FileResolver for Unambiguous {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let Ok(source) = fs::read_to_string(self.folder.join(name)) else {
            return Err(protox::Error::file_not_found(name));
        };
        File::from_source(name, &in_full(name, source))
    }
}

fn in_full(name: &str, mut source: String) -> String {
    let own = package_of(name);
    let imports = source.lines().filter_map(|l| l.strip_prefix("import \"")?.strip_suffix("\";"));
    let packages: Vec<Vec<String>> = imports.filter(|i| i.starts_with("envoy/")).map(package_of).collect();
    for package in packages {
        let shared = own.iter().zip(&package).take_while(|(a, b)| a == b).count();
        for cut in 0..=shared.min(package.len() - 1) {
            let relative = package[cut..].join(".") + ".";
            let mut out = String::with_capacity(source.len());
            let mut rest = source.as_str();
            while let Some(at) = rest.find(&relative) {
                let (before, after) = rest.split_at(at);
                out.push_str(before);
                let inside = out.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'));
                if inside {
                    out.push_str(&relative);
                } else {
                    out.push('.');
                    out.push_str(&package.join("."));
                    out.push('.');
                }
                rest = &after[relative.len()..];
            }
            out.push_str(rest);
            source = out;
        }
    }
    source
}

/// Envoy's folders are its packages.
fn package_of(file: &str) -> Vec<String> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.split('/').map(str::to_owned).collect()
}

/// The .proto files below a folder, as imports name them.
fn collect(base: &Path, folder: &str, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(base.join(folder))? {
        let entry = entry?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(base, &name, files)?;
        } else if name.ends_with(".proto") {
            files.push(name);
        }
    }
    Ok(())
}

/// Where cargo has unpacked the package: in its registry, or in a vendored copy of that. Asked of a
/// workspace that has this one dependency: for the real one cargo would want the packages of every
/// dev-dependency too, which a plain build has not fetched.
fn package_folder(manifest: &Path, lock: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let version = locked_version(&fs::read_to_string(lock)?)?;
    let asker = out.join("asker");
    fs::create_dir_all(asker.join("src"))?;
    fs::write(asker.join("src/lib.rs"), "")?;
    fs::write(
        asker.join("Cargo.toml"),
        format!(
            "[package]\nname = \"asker\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{PACKAGE} = \"={version}\"\n\n[workspace]\n"
        ),
    )?;
    fs::copy(lock, asker.join("Cargo.lock"))?;
    // Run in this folder, so that the configuration that applies here (of vendored sources) applies there.
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--format-version", "1", "--filter-platform"])
        .arg(env::var("TARGET")?)
        .arg("--manifest-path")
        .arg(asker.join("Cargo.toml"))
        .current_dir(manifest)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let package = packages.iter().find(|p| p["name"] == PACKAGE && p["version"] == version.as_str());
    let file = package.and_then(|p| p["manifest_path"].as_str()).ok_or("cargo metadata does not list it")?;
    Ok(Path::new(file).parent().ok_or("its manifest lies nowhere")?.to_path_buf())
}

fn locked_version(lock: &str) -> Result<String, Box<dyn Error>> {
    let (_, rest) = lock.split_once(&format!("name = \"{PACKAGE}\"")).ok_or("Cargo.lock does not name it")?;
    let version = rest.split_once("version = \"").and_then(|(_, rest)| rest.split_once('"'));
    Ok(version.ok_or("Cargo.lock has no version of it")?.0.to_owned())
}
