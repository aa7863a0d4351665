//! Many requests, one a line: as JSON, or as a line of an access log in Istio's text or JSON format.

use super::access_log::{self, Entry, Logged};
use amime_model::explain::{Question, QuestionError, Verdict};
use serde::Serialize;
use serde_json::Value;

/// One line, understood.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: String,
    /// The ways in which the line can be meant, the likeliest first; never empty.
    pub(crate) questions: Vec<Question>,
    /// What came of the request then, of a line of an access log.
    pub(crate) logged: Option<Logged>,
}

/// The answer to one line.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) id: &'a str,
    pub(crate) verdict: &'a Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logged: Option<&'a Logged>,
}

/// None: the line is the log of the server's side, whose request another line has. `from` is whose log it is.
pub(crate) fn parse(line: &str, number: usize, from: Option<&str>) -> anyhow::Result<Option<Asked>> {
    let entry = match serde_json::from_str::<Value>(line) {
        Ok(value) if value.get("url").is_some() => {
            let mut question: Question = serde_json::from_value(value)?;
            if question.from.is_none() && question.at.is_none() {
                question.from = from.map(str::to_owned);
            }
            return Ok(Some(Asked { id: question.id.clone(), questions: vec![question], logged: None }));
        }
        Ok(value) => access_log::of_json(&value),
        Err(_) => access_log::of_text(line),
    };
    let entry = entry.ok_or_else(|| {
        anyhow::anyhow!("neither a request as JSON (with a url) nor a line of an access log in Istio's format")
    })?;
    if entry.is_inbound() {
        return Ok(None);
    }
    let from =
        from.ok_or_else(|| anyhow::anyhow!("an access log does not say whose it is: --from WORKLOAD or gateway"))?;
    Ok(Some(of_entry(entry, number, from)))
}

fn of_entry(entry: Entry, number: usize, from: &str) -> Asked {
    let id = if entry.id.is_empty() { number.to_string() } else { entry.id.clone() };
    let mut questions = entry.questions();
    for question in &mut questions {
        question.id.clone_from(&id);
        question.from = Some(from.to_owned());
    }
    Asked { id, questions, logged: Some(entry.logged) }
}

impl Asked {
    /// The first way that leads somewhere; else what the first one came to.
    pub(crate) fn answer(
        &self,
        mut explain: impl FnMut(&Question) -> Result<Verdict, QuestionError>,
    ) -> Result<Verdict, QuestionError> {
        let mut first = None;
        for question in &self.questions {
            let answer = explain(question);
            if answer.as_ref().is_ok_and(|verdict| verdict.action != amime_model::explain::Action::Refuse) {
                return answer;
            }
            first.get_or_insert(answer);
        }
        // Never empty.
        first.unwrap_or(Err(QuestionError::NoProxy))
    }
}
