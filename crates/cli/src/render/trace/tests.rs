use procession::ipc::v8::{
    Array, Boxed, ErrorName, ErrorValue, Object, RegExp, SparseArray, Value, View, ViewBytes,
    ViewKind,
};

use super::*;

/// A document with everything that JSON has no word for, and itself.
fn everything() -> Document {
    let mut d = Document::default();
    let buffer = d.add_buffer(*b"xyz");
    let map = d.add(Object::Map(vec![("k".into(), buffer.clone())]));
    let set = d.add(Object::Set(vec![Value::Undefined, Value::Number(-0.0)]));
    let date = d.add(Object::Date(0.0));
    let invalid = d.add(Object::Date(f64::NAN));
    let regexp = d.add(Object::RegExp(RegExp::new("a/\n", "gi").unwrap()));
    let error = d.add(Object::Error(Box::new(ErrorValue {
        name: ErrorName::Type,
        message: Some("no".into()),
        cause: Some(1.into()),
        stack: None,
    })));
    let boxed = d.add(Object::Boxed(Boxed::String("b".into())));
    let sparse = d.add(Object::Sparse(SparseArray {
        length: 9,
        properties: [("3", true)].into_iter().collect(),
    }));
    let holes = d.add(Object::Array(Array {
        items: vec![Some(1.into()), None],
        extra: [("x", 1.5)].into_iter().collect(),
    }));
    let view = d.add(Object::View(View {
        kind: ViewKind::Uint16,
        bytes: ViewBytes::Own(vec![1, 2, 3, 4]),
    }));
    let big = Value::BigInt((1_u64 << 63).into());
    let root = d.add_object([
        ("map", map.into()),
        ("set", set.into()),
        ("dates", Value::Null),
        ("regexp", regexp.into()),
        ("error", error.into()),
        ("boxed", boxed.into()),
        ("sparse", sparse.into()),
        ("holes", holes.into()),
        ("view", view.into()),
        ("big", big),
        ("again", buffer),
    ]);
    let dates = d.add_array([Value::from(date), invalid.into()]);
    let id = root.as_object().unwrap();
    if let Some(Object::Plain(members)) = d.object_mut(id) {
        members.insert("dates", dates);
        members.insert("it's", root.clone());
    }
    d.set_root(root);
    d
}

#[test]
fn values_look_as_in_node() {
    let document = everything();
    let text = inspect(&document, document.root(), &[], 10_000);
    let expected = "{ map: Map(1) { 'k' => <Buffer 78 79 7a> }, set: Set(2) { undefined, -0 }, \
        dates: [ 1970-01-01T00:00:00.000Z, Invalid Date ], regexp: /a/\\n/gi, \
        error: [TypeError: no] { cause: 1 }, boxed: [String: 'b'], sparse: Array(9) { 3: true }, \
        holes: [ 1, <hole>, x: 1.5 ], view: Uint16Array(2) <01 02 03 04>, \
        big: 9223372036854775808n, again: <Buffer 78 79 7a>, 'it\\'s': [Circular] }";
    assert_eq!(text, expected);
    let some = inspect(&document, document.root(), &["map", "set"], 10_000);
    assert!(some.starts_with("{ dates: [ 1970"), "{some}");
}

#[test]
fn values_are_whole_and_in_order_in_json() {
    let document = everything();
    let text = json::value(&document, document.root());
    let expected = r#"{"map":{"$type":"Map","entries":[["k",{"$type":"Buffer","hex":"78797a"}]]},"set":{"$type":"Set","values":[{"$type":"undefined"},{"$type":"number","value":"-0"}]},"dates":["#.to_owned()
        + r#"{"$type":"Date","value":"1970-01-01T00:00:00.000Z"},{"$type":"Date","value":null}],"regexp":{"$type":"RegExp","source":"a/\n","flags":"gi"},"error":{"$type":"TypeError","message":"no","cause":1},"#
        + r#""boxed":{"$type":"String","value":"b"},"sparse":{"$type":"Array","length":9,"members":{"3":true}},"holes":{"$type":"Array","items":[1,{"$type":"undefined"}],"members":{"x":1.5}},"#
        + r#""view":{"$type":"Uint16Array","hex":"01020304"},"big":{"$type":"bigint","value":"9223372036854775808"},"again":{"$type":"seen","object":2},"it's":{"$type":"seen","object":0}}"#;
    assert_eq!(text, expected);
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
}

#[test]
fn a_long_value_is_not_written_to_its_end() {
    let mut document = Document::default();
    let root = document.add_array(0..1_000_000);
    document.set_root(root);
    let text = inspect(&document, document.root(), &[], 100);
    assert!(text.len() < 500, "{} bytes", text.len());
    let cut = cut(&text, 100);
    assert_eq!(cut.chars().count(), 100);
    assert!(cut.ends_with('…'));
}

#[test]
fn a_text_that_just_fits_is_not_cut() {
    assert_eq!(cut("äöü", 3), "äöü");
    assert_eq!(cut("äöüx", 3), "äö…");
    assert_eq!(cut("", 3), "");
}

fn channel() -> Channel {
    Channel {
        at: 0,
        parent: 10,
        child: 11,
        serialization: "json".to_owned(),
        program: "node \u{1b}[2J".to_owned(),
    }
}

fn line(format: Format, what: What, from: From, body: &str) -> String {
    let mut printer = Printer::to_file(Vec::new(), format);
    printer.start = 0;
    let record = Record::of(1_500_000, from, what, body.as_bytes());
    printer.record(&channel(), &record).unwrap();
    String::from_utf8(printer.out).unwrap()
}

fn message(descriptor: Option<&str>, remark: Option<Remark>) -> What {
    What::Message {
        descriptor: descriptor.map(str::to_owned),
        remark,
    }
}

#[test]
fn orders_of_a_cluster_are_told_in_words() {
    let cases = [
        (
            From::Child,
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"port":0,"seq":3}"#,
            None,
            "  1.5000  10 ← 11  cluster       69 B  queryServer #3 { index: 0, port: 0 }\n",
        ),
        (
            From::Parent,
            r#"{"cmd":"NODE_CLUSTER","errno":null,"ack":3,"seq":0}"#,
            None,
            "  1.5000  10 → 11  cluster       51 B  answer to #3 { errno: null }\n",
        ),
        (
            From::Parent,
            r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"k","seq":1}}"#,
            Some("TCP connection"),
            "  1.5000  10 → 11  cluster      104 B  newconn #1 net.Native (TCP connection) { key: 'k' }\n",
        ),
        (
            From::Child,
            r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#,
            None,
            "  1.5000  10 ← 11  cluster       45 B  online #0\n",
        ),
        (
            From::Parent,
            r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"x"}"#,
            None,
            "  1.5000  10 → 11  handle        51 B  net.Socket (nothing came with it) 'x'\n",
        ),
        (
            From::Child,
            r#"{"cmd":"NODE_HANDLE_NACK"}"#,
            None,
            "  1.5000  10 ← 11  missed        26 B\n",
        ),
        (
            From::Child,
            r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":2}"#,
            None,
            "  1.5000  10 ← 11  socket        47 B  NODE_SOCKET_COUNT { key: 'k', count: 2 }\n",
        ),
        (
            From::Child,
            r#"{"cmd":"NODE_"}"#,
            None,
            "  1.5000  10 ← 11  message       15 B  { cmd: 'NODE_' }\n",
        ),
    ];
    for (from, body, descriptor, expected) in cases {
        let text = line(Format::Text, message(descriptor, None), from, body);
        assert_eq!(text, expected);
    }
}

#[test]
fn what_is_odd_is_told() {
    let text = |what, body| line(Format::Text, what, From::Parent, body);
    assert_eq!(
        text(message(None, Some(Remark::Differs)), "1.0"),
        "  1.5000  10 → 11  message        3 B  1  (not as Node writes it)\n"
    );
    let problem = "byte 0 of a message is not a value: \"no\"".to_owned();
    assert_eq!(
        text(What::Malformed { problem }, "no\n"),
        "  1.5000  10 → 11  malformed      3 B  byte 0 of a message is not a value: \"no\"\n"
    );
    assert_eq!(
        text(What::Raw, "\u{1b}x\n"),
        "  1.5000  10 → 11  raw            3 B  \\x1bx\\n\n"
    );
    assert_eq!(
        text(What::End { partial: 7 }, ""),
        "  1.5000  10 → 11  end in the middle of a message, after 7 bytes\n"
    );
    let mut printer = Printer::to_file(Vec::new(), Format::Text);
    printer.channel(&channel()).unwrap();
    let started = String::from_utf8(printer.out).unwrap();
    assert!(!started.contains('\u{1b}'), "{started:?}");
}

#[test]
fn a_line_fits_the_screen() {
    let screen = Screen {
        paint: Paint::Plain,
        width: Some(80),
    };
    let mut printer = Printer::new(Vec::new(), Format::Text, screen);
    printer.start = 0;
    let body = format!("\"{}\"", "é".repeat(500));
    let record = Record::of(1_500_000, From::Child, message(None, None), body.as_bytes());
    printer.record(&channel(), &record).unwrap();
    let text = String::from_utf8(printer.out).unwrap();
    assert_eq!(text.trim_end().chars().count(), 80, "{text}");
    assert!(text.ends_with("é…\n"));
}
