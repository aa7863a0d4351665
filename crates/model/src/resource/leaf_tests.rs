//! Durations, base64, times and numbers, right and wrong.

use super::*;

#[test]
fn durations_as_go_reads_them() {
    let millis = |text| parse_duration(text).map(|nanos| nanos / 1_000_000);
    assert_eq!(millis("1h30m"), Some(5_400_000));
    assert_eq!(millis("0.5s"), Some(500));
    assert_eq!(millis("1.5h"), Some(5_400_000));
    assert_eq!(millis("+5s"), Some(5_000));
    assert_eq!(millis("1m2s3ms"), Some(62_003));
    assert_eq!(millis(".5s"), Some(500));
    assert_eq!(millis("5.s"), Some(5_000));
    assert_eq!(parse_duration("1us1ns"), Some(1_001));
    assert_eq!(parse_duration("0"), Some(0));
    for wrong in [
        "",
        "5",
        "s",
        "5 s",
        "-1s",
        "1d",
        "1.2.3s",
        ".s",
        "1e3s",
        "300000000h",
        "5S",
        "٣s",
        "99999999999999999999999999999999999999999s",
    ] {
        assert_eq!(parse_duration(wrong), None, "{wrong}");
    }
    assert_eq!(spaceless("5 sec").as_deref(), Some("5s"));
    assert_eq!(spaceless("10 Seconds").as_deref(), Some("10s"));
    assert_eq!(spaceless("soon"), None);
}

#[test]
fn base64_both_ways() {
    let read = |text| decode_base64(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(read("").as_deref(), Some(""));
    assert_eq!(read("aGVsbG8=").as_deref(), Some("hello"));
    assert_eq!(read("aGVs\nbG8h").as_deref(), Some("hello!"));
    assert_eq!(read("YQ==").as_deref(), Some("a"));
    for wrong in ["a", "aGVsbG8", "YQ==YQ==", "a===", "====", "YQ= ", "é==="] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn timestamps() {
    let seconds = |text| parse_timestamp(text).map(|nanos| nanos / 1_000_000_000);
    assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(seconds("2026-11-22T10:11:12Z"), Some(1_795_342_272));
    assert_eq!(seconds("2000-02-29T23:59:59+09:00"), Some(951_836_399));
    assert_eq!(seconds("0001-01-01T00:00:00Z"), Some(-62_135_596_800));
    assert_eq!(parse_timestamp("1970-01-01T00:00:00.25Z"), Some(250_000_000));
    for wrong in [
        "",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T24:00:00Z",
        "x026-01-01T00:00:00Z",
    ] {
        assert_eq!(parse_timestamp(wrong), None, "{wrong}");
    }
}

#[test]
fn numbers_in_quotes() {
    assert_eq!(json_number("80"), Some(Resolved::Int(80)));
    assert_eq!(json_number("-1"), Some(Resolved::Int(-1)));
    assert_eq!(json_number("0.5"), Some(Resolved::Float(0.5)));
    assert_eq!(json_number("0"), Some(Resolved::Int(0)));
    for wrong in ["", "abc", "080", "inf", "1e999", " 1", "+1", "0x10"] {
        assert_eq!(json_number(wrong), None, "{wrong}");
    }
}
