//! Access logs of listeners, TCP proxies and HTTP connection managers.

use super::common::{any, opaque, opaque_any, opaque_message, unpack};
use super::origin::text;
use crate::decode::DecodeError;
use amime_model::config::{AccessLog, LogFormat};
use core::substitution_format_string::Format;
use envoy_types::pb::envoy::config::accesslog::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file;
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as stream;
use envoy_types::pb::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use envoy_types::pb::google::protobuf as wkt;
use file::file_access_log::AccessLogFormat;
use pb::access_log_filter::FilterSpecifier;
use serde_json::{Map, Number, Value};
use wkt::value::Kind;

const FILE: &str = "envoy.access_loggers.file";

pub(crate) fn to_pb(logs: &[AccessLog]) -> Vec<pb::AccessLog> {
    logs.iter().map(log_to_pb).collect()
}

fn log_to_pb(log: &AccessLog) -> pb::AccessLog {
    let (name, config, flags) = match log {
        AccessLog::File { path, format, flags } => {
            let log = file::FileAccessLog {
                path: path.clone(),
                access_log_format: format_to_pb(format).map(AccessLogFormat::LogFormat),
            };
            (FILE, any(&log), flags.as_slice())
        }
        AccessLog::Opaque(opaque) => (opaque.name.as_str(), opaque_any(opaque), &[][..]),
    };
    pb::AccessLog {
        name: name.into(),
        filter: (!flags.is_empty()).then(|| pb::AccessLogFilter {
            filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(pb::ResponseFlagFilter {
                flags: flags.to_vec(),
            })),
        }),
        config_type: Some(pb::access_log::ConfigType::TypedConfig(config)),
    }
}

fn format_to_pb(format: &LogFormat) -> Option<core::SubstitutionFormatString> {
    let written = match format {
        LogFormat::Text(text) => text.clone(),
        LogFormat::Json(fields) => serde_json::Value::Object(fields.clone()).to_string(),
    };
    // Envoy wants to be told where this command is used.
    let formatters = if written.contains("%REQ_WITHOUT_QUERY") { vec![without_query()] } else { Vec::new() };
    let format = match format {
        LogFormat::Text(text) if text.is_empty() => return None,
        LogFormat::Text(text) => Format::TextFormatSource(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString(text.clone())),
            ..Default::default()
        }),
        LogFormat::Json(fields) => Format::JsonFormat(struct_to_pb(fields)),
    };
    Some(core::SubstitutionFormatString { format: Some(format), formatters, ..Default::default() })
}

pub(crate) fn from_pb(logs: Vec<pb::AccessLog>) -> Result<Vec<AccessLog>, DecodeError> {
    logs.into_iter().map(log_from_pb).collect()
}

fn log_from_pb(log: pb::AccessLog) -> Result<AccessLog, DecodeError> {
    // Envoy's other filters choose what is logged; a log that they would thin out is not ours to write.
    let flags = match log.filter.as_ref().map(|filter| &filter.filter_specifier) {
        None => Vec::new(),
        Some(Some(FilterSpecifier::ResponseFlagFilter(filter))) if !filter.flags.is_empty() => filter.flags.clone(),
        Some(_) => return Ok(AccessLog::Opaque(opaque_message(log.name.clone(), &log))),
    };
    let whole = |log: &pb::AccessLog, flags: &[String], config: &wkt::Any| {
        // Without its filter an unknown log would be another one.
        AccessLog::Opaque(if flags.is_empty() {
            opaque(log.name.clone(), config.clone())
        } else {
            opaque_message(log.name.clone(), log)
        })
    };
    let config = match &log.config_type {
        Some(pb::access_log::ConfigType::TypedConfig(config)) => config.clone(),
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
                Some(LogFormat::Json(struct_from_pb(&fields)))
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
        return Ok(whole(&log, &flags, &config));
    };
    Ok(match format {
        Some(format) => AccessLog::File { path, format, flags },
        None => whole(&log, &flags, &config),
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
        Some(Format::JsonFormat(fields)) => LogFormat::Json(struct_from_pb(&fields)),
    })
}

fn without_query() -> core::TypedExtensionConfig {
    core::TypedExtensionConfig {
        name: "envoy.formatter.req_without_query".into(),
        typed_config: Some(any(&ReqWithoutQuery::default())),
    }
}

fn struct_to_pb(fields: &Map<String, Value>) -> wkt::Struct {
    wkt::Struct { fields: fields.iter().map(|(name, value)| (name.clone(), value_to_pb(value))).collect() }
}

fn value_to_pb(value: &Value) -> wkt::Value {
    let kind = match value {
        Value::String(format) => return text(format),
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::Array(items) => Kind::ListValue(wkt::ListValue { values: items.iter().map(value_to_pb).collect() }),
        Value::Object(fields) => Kind::StructValue(struct_to_pb(fields)),
    };
    wkt::Value { kind: Some(kind) }
}

fn struct_from_pb(fields: &wkt::Struct) -> Map<String, Value> {
    fields.fields.iter().map(|(name, value)| (name.clone(), value_from_pb(value))).collect()
}

fn value_from_pb(value: &wkt::Value) -> Value {
    match &value.kind {
        Some(Kind::StringValue(format)) => Value::String(format.clone()),
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(number)) => {
            whole_number(*number).or_else(|| Number::from_f64(*number)).map_or(Value::Null, Value::Number)
        }
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(value_from_pb).collect()),
        Some(Kind::StructValue(fields)) => Value::Object(struct_from_pb(fields)),
        Some(Kind::NullValue(_)) | None => Value::Null,
    }
}

/// JSON tells 5 from 5.0, protobuf does not.
fn whole_number(number: f64) -> Option<Number> {
    (number.fract() == 0.0 && number.abs() < 2f64.powi(53)).then(|| Number::from(number as i64))
}
