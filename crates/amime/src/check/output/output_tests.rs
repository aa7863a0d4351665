//! Each form holds the finding, its place and its message, escaped as the form asks.

use super::*;
use amime_model::diagnostic::{Place, Texts, codes};
use amime_model::resource::{Kind, ResourceId};

fn outcome() -> Outcome {
    let file: std::sync::Arc<str> = "a,b.yaml".into();
    let mut texts = Texts::default();
    texts.insert(file.clone(), "kind: X\nhost: <web>\n".into());
    let found = Diagnostic::of(codes::NOT_FOUND, "100% of <web> & \"co\"")
        .with_resource(&ResourceId::new(Kind::VirtualService, "shop", "web"))
        .with_field("spec.host")
        .with_place(Some(Place { file, line: 2, column: 7 }));
    Outcome { diagnostics: vec![found], suppressed: 3, objects: 1, texts }
}

#[test]
fn people_see_the_line_with_a_caret_and_the_counts() {
    let text = print(&outcome(), Output::Human, false);
    assert!(text.contains("a,b.yaml:2:7"), "{text}");
    assert!(text.contains("2 | host: <web>\n  |       ^^^^^"), "{text}");
    assert!(text.ends_with("1 error in 1 objects; 3 suppressed\n"), "{text}");
}

#[test]
fn forms_for_programs_can_be_read_back() {
    let sarif: serde_json::Value = serde_json::from_str(&print(&outcome(), Output::Sarif, false)).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "IST0101");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 2);
    let gitlab: serde_json::Value = serde_json::from_str(&print(&outcome(), Output::Gitlab, false)).expect("JSON");
    assert_eq!(gitlab[0]["location"]["lines"]["begin"], 2);
    let json: serde_json::Value = serde_json::from_str(&print(&outcome(), Output::Json, false)).expect("JSON");
    assert_eq!(json["diagnostics"][0]["resource"]["namespace"], "shop");
    assert_eq!(json["summary"]["suppressed"], 3);
}

#[test]
fn texts_are_escaped() {
    let junit = print(&outcome(), Output::Junit, false);
    assert!(junit.contains("100% of &lt;web&gt; &amp; &quot;co&quot;"), "{junit}");
    let github = print(&outcome(), Output::Github, false);
    let wanted =
        "::error file=a%2Cb.yaml,line=2,col=7,title=IST0101::VirtualService shop/web: 100%25 of <web> & \"co\"\n";
    assert_eq!(github, wanted);
}
