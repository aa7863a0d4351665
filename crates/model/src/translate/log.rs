//! Access logs as MeshConfig asks for them: where, in which format, and what of it.
//!
//! Connection managers and TCP proxies log their traffic, listeners the connections that no filter chain takes.

use crate::access_log::{self, istio};
use crate::config::{AccessLog, LogFormat};
use crate::resource::MeshConfig;
use crate::resource::mesh_config::AccessLogEncoding;

/// The log of requests and connections; none where the mesh names no file.
pub(super) fn of_traffic(mesh: &MeshConfig) -> Vec<AccessLog> {
    of(mesh, &[])
}

/// The log of connections that a listener has no filter chain for.
pub(super) fn of_listener(mesh: &MeshConfig) -> Vec<AccessLog> {
    if mesh.disable_envoy_listener_log { Vec::new() } else { of(mesh, &["NR"]) }
}

fn of(mesh: &MeshConfig, flags: &[&str]) -> Vec<AccessLog> {
    if mesh.access_log_file.is_empty() {
        return Vec::new();
    }
    let written = mesh.access_log_format.as_str();
    let format = match mesh.access_log_encoding {
        AccessLogEncoding::Text if written.is_empty() => LogFormat::Text(istio::TEXT.to_owned()),
        AccessLogEncoding::Text => {
            let text = access_log::without_unknown(written);
            LogFormat::Text(if text.ends_with('\n') { text } else { text + "\n" })
        }
        AccessLogEncoding::Json => LogFormat::Json(match serde_json::from_str(written) {
            Ok(fields) => access_log::fields_without_unknown(fields),
            // What cannot be read is reported where MeshConfig is validated.
            Err(_) => istio::json(),
        }),
    };
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    vec![AccessLog::File { path: mesh.access_log_file.clone(), format, flags }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(text: &str) -> MeshConfig {
        crate::resource::load_mesh_config("mesh.yaml", text).config
    }

    fn format(mesh: &MeshConfig) -> LogFormat {
        match of_traffic(mesh).pop() {
            Some(AccessLog::File { path, format, flags }) if path == "/dev/stdout" && flags.is_empty() => format,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_logged_unless_a_file_is_named() {
        assert!(of_traffic(&MeshConfig::default()).is_empty());
        assert!(of_listener(&mesh("accessLogFormat: x")).is_empty());
    }

    #[test]
    fn istios_formats_are_the_default() {
        assert_eq!(format(&mesh("accessLogFile: /dev/stdout")), LogFormat::Text(istio::TEXT.into()));
        let json = "{accessLogFile: /dev/stdout, accessLogEncoding: JSON}";
        assert_eq!(format(&mesh(json)), LogFormat::Json(istio::json()));
    }

    #[test]
    fn formats_of_ones_own() {
        let text = mesh("{accessLogFile: /dev/stdout, accessLogFormat: 'a %PROTOCOL% %NO_SUCH%'}");
        assert_eq!(format(&text), LogFormat::Text("a %PROTOCOL% -\n".into()));
        let json = r#"{accessLogFile: /dev/stdout, accessLogEncoding: JSON, accessLogFormat: '{"a": "%PROTOCOL%"}'}"#;
        let fields = [("a".to_owned(), "%PROTOCOL%".into())].into_iter().collect();
        assert_eq!(format(&mesh(json)), LogFormat::Json(fields));
        let broken = "{accessLogFile: /dev/stdout, accessLogEncoding: JSON, accessLogFormat: '[]'}";
        assert_eq!(format(&mesh(broken)), LogFormat::Json(istio::json()));
    }

    #[test]
    fn listeners_log_what_no_chain_takes() {
        let logs = of_listener(&mesh("accessLogFile: /dev/stdout"));
        assert!(matches!(logs.as_slice(), [AccessLog::File { flags, .. }] if flags == &["NR"]), "{logs:?}");
        assert!(of_listener(&mesh("{accessLogFile: /dev/stdout, disableEnvoyListenerLog: true}")).is_empty());
    }
}
