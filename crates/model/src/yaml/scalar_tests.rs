//! Each case was read by sigs.k8s.io/yaml 1.6.0.

use super::Resolved::{Bool, Float, Int, Null, Str};
use super::resolve;

#[test]
fn as_kubernetes_reads_them() {
    for (text, want) in [
        ("y", Bool(true)),
        ("No", Bool(false)),
        ("ON", Bool(true)),
        ("oN", Str),
        ("tRUE", Str),
        ("~", Null),
        ("nULL", Str),
        ("0777", Int(511)),
        ("0o777", Int(511)),
        ("0x1F", Int(31)),
        ("0b11", Int(3)),
        ("-0b11", Int(-3)),
        ("1_000", Int(1000)),
        ("_1", Str),
        ("09", Float(9.0)),
        ("0b12", Str),
        ("0x", Str),
        ("08.5", Float(8.5)),
        ("1e3", Float(1000.0)),
        ("5.", Float(5.0)),
        (".5", Float(0.5)),
        ("-.5", Float(-0.5)),
        ("1.5e", Str),
        (".e3", Str),
        (".", Str),
        ("-", Str),
        ("1.2.3", Str),
        ("1:30", Str),
        ("2001-01-01", Str),
        ("18446744073709551615", Int(18_446_744_073_709_551_615)),
        ("99999999999999999999", Float(1e20)),
        ("-9223372036854775809", Float(-9_223_372_036_854_775_809.0)),
        ("+-5", Str),
        ("=", Str),
    ] {
        assert_eq!(resolve(text), want, "{text}");
    }
    assert!(matches!(resolve(".NaN"), Float(number) if number.is_nan()));
    assert_eq!(resolve("-.INF"), Float(f64::NEG_INFINITY));
}
