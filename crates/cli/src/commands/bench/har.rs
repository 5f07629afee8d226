//! Requests that a browser has recorded (HTTP Archive).

use std::fs;
use std::path::Path;

use procession_load::{Request, Target};
use serde::Deserialize;

use crate::args::is_token;
use crate::exit::Exit;
use crate::failure::Failure;

/// Headers of the recorded connection; ours are our own.
const HOP: [&str; 5] = [
    "host",
    "connection",
    "content-length",
    "keep-alive",
    "transfer-encoding",
];

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Recorded,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    post_data: Option<Data>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    text: String,
}

/// Reads the requests that went to the target's host.
pub(super) fn requests(file: &Path, target: &Target) -> Result<Vec<Request>, Failure> {
    let shown = file.display();
    let text = fs::read(file).map_err(|error| {
        let message = format!("cannot read `{shown}`");
        Failure::new(Exit::Usage, message, "is the path right?").caused_by(&error)
    })?;
    let archive: Archive = serde_json::from_slice(&text).map_err(|error| {
        let message = format!("`{shown}` is no HTTP archive");
        let hint = "a browser's network tools write it: `save all as HAR`";
        Failure::new(Exit::Usage, message, hint).caused_by(&error)
    })?;
    let entries = archive.log.entries.into_iter();
    let requests: Vec<Request> = entries
        .filter_map(|entry| request(entry.request, target))
        .collect();
    if requests.is_empty() {
        let message = format!("`{shown}` has no request to `{}`", target.host);
        let hint = "the URL says which host's requests are made";
        return Err(Failure::new(Exit::Usage, message, hint));
    }
    Ok(requests)
}

fn request(recorded: Recorded, target: &Target) -> Option<Request> {
    let to = Target::parse(&recorded.url).ok()?;
    if (&to.host, to.tls) != (&target.host, target.tls) || !is_token(&recorded.method) {
        return None;
    }
    let headers = recorded.headers.into_iter().filter(|header| {
        // HTTP/2 has some that begin with a colon.
        let is_ours = HOP.iter().any(|hop| header.name.eq_ignore_ascii_case(hop));
        is_token(&header.name) && !is_ours && !header.value.contains(['\r', '\n'])
    });
    Some(Request {
        method: recorded.method,
        path: Some(to.path),
        headers: headers.map(|header| (header.name, header.value)).collect(),
        body: recorded
            .post_data
            .map(|data| data.text)
            .unwrap_or_default()
            .into(),
        ids: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_to_the_same_host_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.har");
        let archive = r#"{"log": {"entries": [
            {"request": {"method": "POST", "url": "http://here:81/a?b", "postData": {"text": "x"},
                "headers": [{"name": "Host", "value": "here"}, {"name": ":path", "value": "/"},
                            {"name": "A", "value": "1"}]}},
            {"request": {"method": "GET", "url": "http://elsewhere/", "headers": []}},
            {"request": {"method": "GET", "url": "https://here:81/", "headers": []}}]}}"#;
        fs::write(&file, archive).unwrap();
        let target = Target::parse("http://here:81/").unwrap();
        let expected = Request {
            method: "POST".into(),
            path: Some("/a?b".into()),
            headers: vec![("A".into(), "1".into())],
            body: "x".into(),
            ids: false,
        };
        assert_eq!(requests(&file, &target).unwrap(), [expected]);

        let other = Target::parse("http://there/").unwrap();
        let failure = requests(&file, &other).unwrap_err();
        assert!(
            failure.to_string().contains("has no request to `there"),
            "{failure}"
        );
        fs::write(&file, "{}").unwrap();
        assert_eq!(requests(&file, &target).unwrap_err().exit(), Exit::Usage);
    }
}
