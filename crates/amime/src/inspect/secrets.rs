//! `amime config secrets`: the certificates that a proxy has, as istioctl lists them.

use super::table::Table;
use super::view::Seen;
use amime_model::config::Secret;
use amime_xds::intern::Decoded;
use amime_xds::json::State;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::pem::Pem;

/// What a certificate says of itself.
struct Certificate {
    serial: String,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

pub(crate) fn table(seen: &[&Seen<'_>], now: OffsetDateTime) -> Table {
    let mut table =
        Table::new(["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"]);
    for seen in seen {
        let state = match seen.dumped.state {
            State::Active => "ACTIVE",
            State::Warming => "WARMING",
            State::Draining => "DRAINING",
        };
        let (kind, pem) = match &seen.decoded {
            Some(Decoded::Secret(secret)) => match &**secret {
                Secret::Certificate { chain, .. } => ("Cert Chain", chain.as_slice()),
                Secret::Validation { roots, .. } => ("CA", roots.as_slice()),
            },
            _ => ("", [].as_slice()),
        };
        let cells = [seen.dumped.name.to_owned(), kind.to_owned(), state.to_owned()];
        let certificate = match (seen.decoded.is_none(), first(pem)) {
            // One that is on its way has nothing to tell yet.
            (true, _) if seen.dumped.state != State::Warming => {
                [seen.excuse(), String::new(), String::new(), String::new()]
            }
            (_, None) => ["false".to_owned(), String::new(), String::new(), String::new()],
            (_, Some(c)) => {
                let valid = c.not_before <= now && now <= c.not_after;
                [valid.to_string(), c.serial, time(c.not_after), time(c.not_before)]
            }
        };
        table.push(cells.into_iter().chain(certificate));
    }
    table
}

fn time(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// The first certificate of a PEM text: the proxy's own of a chain.
fn first(pem: &[u8]) -> Option<Certificate> {
    let pem = Pem::iter_from_buffer(pem).flatten().find(|pem| pem.label == "CERTIFICATE")?;
    let certificate = pem.parse_x509().ok()?;
    let validity = certificate.validity();
    let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let serial = serial.strip_prefix("00").unwrap_or(&serial).to_owned();
    Some(Certificate {
        serial,
        not_before: validity.not_before.to_datetime(),
        not_after: validity.not_after.to_datetime(),
    })
}
