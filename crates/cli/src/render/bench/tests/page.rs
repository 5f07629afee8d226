//! The page.

use super::super::html;
use super::reports;

/// Elements that have no end.
const VOID: [&str; 1] = ["meta"];
/// All that a page is made of: nothing that loads, runs or sends.
const KNOWN: [&str; 31] = [
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "h1",
    "h2",
    "p",
    "b",
    "code",
    "time",
    "section",
    "div",
    "span",
    "small",
    "figure",
    "figcaption",
    "svg",
    "g",
    "path",
    "rect",
    "text",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
];

/// Reads a page as strictly as XML is read; gives its names and attributes.
fn elements(page: &str) -> Vec<(String, String)> {
    let page = page.strip_prefix("<!doctype html>\n").unwrap();
    let (head, rest) = page.split_once("<style>").unwrap();
    let page = &format!("{head}<style>{}", &rest[rest.find("</style>").unwrap()..]);
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    let mut pieces = page.split('<');
    assert_eq!(pieces.next(), Some(""));
    for piece in pieces {
        let (tag, text) = piece.split_once('>').expect("a tag has an end");
        assert!(!text.contains('>'), "stray > in {text:?}");
        let references = text.split('&').skip(1);
        for reference in references {
            assert!(
                reference
                    .split_once(';')
                    .is_some_and(|(name, _)| name.len() <= 5),
                "{text:?}"
            );
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{piece:?}");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(KNOWN.contains(&name), "<{tag}>");
        assert_eq!(attributes.matches('"').count() % 2, 0, "<{tag}>");
        let is_closed = attributes.ends_with('/');
        if !is_closed && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        seen.push((name.to_owned(), attributes.to_owned()));
    }
    assert!(open.is_empty(), "{open:?} have no end");
    seen
}

#[test]
fn every_page_is_whole_and_needs_nothing_else() {
    for (name, report) in reports::all() {
        let page = html(&report, &reports::reload_spec());
        for (element, attributes) in elements(&page) {
            for loads in ["src=", "href=", "url(", "style=", " on"] {
                assert!(
                    !attributes.contains(loads),
                    "{name}: <{element} {attributes}>"
                );
            }
            for number in ["NaN", "inf", "-0.0\"", "\"-"] {
                assert!(
                    !attributes.contains(number),
                    "{name}: <{element} {attributes}>"
                );
            }
        }
        let style = page
            .split_once("<style>")
            .unwrap()
            .1
            .split_once("</style>")
            .unwrap()
            .0;
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(style.contains("prefers-color-scheme: dark"));
        assert!(page.len() < 200_000, "{name}: {} bytes", page.len());
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    let evil = "</title></style><script>alert(\"1\" + '&')</script>\u{1b}";
    let mut report = reports::reload();
    let mut spec = reports::reload_spec();
    report.title = Some(evil.into());
    report.urls = vec![evil.into()];
    for seen in report.failures.values_mut() {
        seen.example = evil.into();
    }
    spec.targets[0].host = evil.into();
    spec.requests[0].method = evil.into();
    spec.requests[0].path = Some(evil.into());
    spec.requests[0].headers = vec![(evil.into(), "secret".into())];
    let page = html(&report, &spec);
    elements(&page);
    assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    assert!(!page.contains("secret"));
    let safe = "&lt;/title&gt;&lt;/style&gt;&lt;script&gt;alert(&quot;1&quot; + &#39;&amp;&#39;)&lt;/script&gt;\\u{1b}";
    // Title, heading, address, four examples; host, method, path and header of what was asked.
    assert_eq!(page.matches(safe).count(), 11);
}

#[test]
fn a_page_shows_what_there_is() {
    let charts = |report| {
        let page = html(&report, &reports::spec());
        let names = page.split("<figcaption>").skip(1);
        let names = names.map(|rest| rest.split('<').next().unwrap().to_owned());
        (names.collect::<Vec<_>>().join(", "), page)
    };
    let (names, page) = charts(reports::reload());
    assert_eq!(
        names,
        "Requests per second, Latency over time, Latency by percentile, Latency histogram, \
         Failures over time"
    );
    // While no answer came there is no latency: each of the four lines has two parts.
    let lines = page
        .split("<path class=\"line ")
        .map(|rest| rest.split('>').next().unwrap());
    let parts: Vec<usize> = lines
        .skip(2)
        .take(4)
        .map(|line| line.matches('M').count())
        .collect();
    assert_eq!(parts, [2; 4]);
    // What is told by pointing there; also what happened while no answer came.
    assert!(page.contains("<title>5.0–6.0 s: 0 req/s</title>"));
    assert!(
        page.contains("<title>5.0–6.0 s&#10;refused: 2.06k&#10;reset: 31</title>"),
        "{page}"
    );
    assert!(page.contains("<b>3,772</b><span>lost</span>"));
    assert!(page.contains("Warning:</b> the client used 97 % of its cores"));
    assert!(page.contains("<th>raw, since it was sent</th>"));
    let (names, _) = charts(reports::only_failures());
    assert_eq!(names, "Requests per second, Failures over time");
    let (names, _) = charts(reports::no_samples());
    assert_eq!(names, "Latency by percentile, Latency histogram");
    assert_eq!(charts(reports::nothing()).0, "");
}

#[test]
fn a_long_load_is_drawn_in_as_many_pieces_as_can_be_seen() {
    let mut report = reports::million();
    let first = report.samples[0].clone();
    report.samples = (1..=86_400)
        .map(|second| {
            let mut sample = first.clone();
            sample.at = std::time::Duration::from_secs(second);
            sample
        })
        .collect();
    let page = html(&report, &reports::spec());
    assert!(page.len() < 300_000, "{} bytes", page.len());
    assert!(page.contains("<title>0.0–432.0 s: 96,000 req/s</title>"));
}
