//! Access logs of listeners, TCP proxies and HTTP connection managers.

use super::common::{any, opaque, opaque_any, opaque_message, unpack};
use super::endpoint::labels_from_pb;
use super::origin::text_struct;
use crate::decode::DecodeError;
use amime_model::config::{AccessLog, LogFormat};
use core::substitution_format_string::Format;
use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file;
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as stream;
use file::file_access_log::AccessLogFormat;

const FILE: &str = "envoy.access_loggers.file";

pub(crate) fn to_pb(logs: &[AccessLog]) -> Vec<pb::AccessLog> {
    logs.iter().map(log_to_pb).collect()
}

fn log_to_pb(log: &AccessLog) -> pb::AccessLog {
    let (name, config) = match log {
        AccessLog::File { path, format } => {
            let log = file::FileAccessLog {
                path: path.clone(),
                access_log_format: format_to_pb(format).map(AccessLogFormat::LogFormat),
            };
            (FILE, any(&log))
        }
        AccessLog::Opaque(opaque) => (opaque.name.as_str(), opaque_any(opaque)),
    };
    pb::AccessLog {
        name: name.into(),
        config_type: Some(pb::access_log::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn format_to_pb(format: &LogFormat) -> Option<core::SubstitutionFormatString> {
    let format = match format {
        LogFormat::Text(text) if text.is_empty() => return None,
        LogFormat::Text(text) => Format::TextFormatSource(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString(text.clone())),
            ..Default::default()
        }),
        LogFormat::Json(fields) => {
            Format::JsonFormat(text_struct(fields.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap_or_default())
        }
    };
    Some(core::SubstitutionFormatString { format: Some(format), ..Default::default() })
}

pub(crate) fn from_pb(logs: Vec<pb::AccessLog>) -> Result<Vec<AccessLog>, DecodeError> {
    logs.into_iter().map(log_from_pb).collect()
}

fn log_from_pb(log: pb::AccessLog) -> Result<AccessLog, DecodeError> {
    // Envoy's own filters choose what is logged; a log that they would thin out is not ours to write.
    if log.filter.is_some() {
        return Ok(AccessLog::Opaque(opaque_message(log.name.clone(), &log)));
    }
    let config = match log.config_type {
        Some(pb::access_log::ConfigType::TypedConfig(config)) => config,
        None => Default::default(),
    };
    let (path, format) = if let Some(log) = unpack::<file::FileAccessLog>(&config) {
        let log = log?;
        let format = match log.access_log_format {
            None => Some(LogFormat::Text(String::new())),
            Some(AccessLogFormat::LogFormat(format)) => format_from_pb(format),
            #[allow(deprecated, reason = "older control planes still write these")]
            Some(AccessLogFormat::Format(text)) => Some(LogFormat::Text(text)),
            #[allow(deprecated, reason = "older control planes still write these")]
            Some(AccessLogFormat::JsonFormat(fields) | AccessLogFormat::TypedJsonFormat(fields)) => {
                Some(LogFormat::Json(labels_from_pb(&fields)))
            }
        };
        (log.path, format)
    } else if let Some(log) = unpack::<stream::StdoutAccessLog>(&config) {
        use stream::stdout_access_log::AccessLogFormat;
        let format = match log?.access_log_format {
            None => Some(LogFormat::Text(String::new())),
            Some(AccessLogFormat::LogFormat(format)) => format_from_pb(format),
        };
        ("/dev/stdout".into(), format)
    } else {
        return Ok(AccessLog::Opaque(opaque(log.name, config)));
    };
    Ok(match format {
        Some(format) => AccessLog::File { path, format },
        None => AccessLog::Opaque(opaque(log.name, config)),
    })
}

/// None where the format lies in a file.
fn format_from_pb(format: core::SubstitutionFormatString) -> Option<LogFormat> {
    use core::data_source::Specifier;
    Some(match format.format {
        None => LogFormat::Text(String::new()),
        #[allow(deprecated, reason = "Istio still writes it")]
        Some(Format::TextFormat(text)) => LogFormat::Text(text),
        Some(Format::TextFormatSource(source)) => match source.specifier {
            Some(Specifier::InlineString(text)) => LogFormat::Text(text),
            _ => return None,
        },
        Some(Format::JsonFormat(fields)) => LogFormat::Json(labels_from_pb(&fields)),
    })
}
