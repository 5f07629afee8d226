use super::golden::describe;
use super::*;

#[test]
fn an_integral_value_is_equal_however_it_came() {
    assert_eq!(Value::Int(1), Value::Number(1.0));
    assert_ne!(Value::Int(0), Value::Number(-0.0));
    assert_eq!(Value::Number(f64::NAN), Value::Number(-f64::NAN));
    assert_eq!(
        (Value::from(1_i64 << 40).as_f64(), Value::from(7_u32)),
        (Some(2.0_f64.powi(40)), Value::Int(7))
    );
    assert_eq!(Value::from(i64::MIN), Value::BigInt(BigInt::from(i64::MIN)));
    assert_eq!(Value::from(i64::MIN).as_i64(), Some(i64::MIN));
    assert_eq!(Value::Number(1.5).as_i64(), None);
    assert_eq!(Value::Number(1e300).as_i64(), None);
}

#[test]
fn strings_are_equal_however_they_are_kept() {
    let one = JsString::from_latin1(*b"a\xe9");
    assert_eq!(one, JsString::from_utf16([0x61, 0xe9]));
    assert_eq!(one, "aé");
    // Latin-1 that could be UTF-8 is Latin-1.
    assert_eq!(JsString::from_latin1(*b"\xc3\xa9").to_str(), "Ã©");
    assert!(one == *"aé" && one != *"ae");
    let lone = JsString::from_utf16([0x61, 0xd800]);
    assert_eq!(
        (lone.to_str().as_ref(), format!("{lone:?}").as_str()),
        ("a\u{fffd}", "\"a\\u{d800}\"")
    );
    assert_eq!(
        (lone.len(), lone.latin1(), lone.utf16().map(<[u16]>::len)),
        (2, None, Some(2))
    );
}

#[test]
fn properties_keep_javascripts_order() {
    let mut properties: Properties = [("b", 1), ("10", 2), ("2", 3), ("01", 4), ("4294967295", 5)]
        .into_iter()
        .collect();
    let keys = |properties: &Properties| -> String {
        properties
            .iter()
            .map(|(key, _)| format!("{key} "))
            .collect()
    };
    assert_eq!(keys(&properties), "2 10 b 01 4294967295 ");
    assert_eq!(properties.insert("2", 9), Some(Value::Int(3)));
    assert_eq!(properties.get("2"), Some(&Value::Int(9)));
    assert_eq!(
        (properties.remove("b"), properties.remove("b")),
        (Some(Value::Int(1)), None)
    );
    assert_eq!(keys(&properties), "2 10 01 4294967295 ");
}

#[test]
fn an_index_is_one_in_a_single_spelling() {
    for (name, index) in [
        ("0", 0),
        ("9", 9),
        ("999999999", 999_999_999),
        ("4294967294", u32::MAX - 1),
    ] {
        assert_eq!(Key::from(name), Key::Index(index));
        assert_eq!(Key::from(JsString::from(name)), Key::Index(index));
        assert!(Key::Index(index).is(name));
    }
    for name in [
        "",
        "00",
        "01",
        "-1",
        "+1",
        "1.0",
        "4294967295",
        "10000000000",
        "１",
    ] {
        assert_eq!(Key::from(name), Key::Name(name.into()), "{name}");
    }
    assert_eq!(Key::from(u32::MAX), Key::from("4294967295"));
}

#[test]
fn there_is_one_nan_on_the_wire() {
    let odd = hex("ff0f 4e 010000000000f4ff");
    assert_eq!(
        written(&read_all(&odd, Dialect::Ipc), Dialect::Ipc),
        hex("ff0f 4e 000000000000f87f")
    );
    assert_eq!(
        to_vec(&f64::from_bits(u64::MAX), Dialect::Ipc),
        Ok(hex("ff0f 4e 000000000000f87f"))
    );
}

/// Every view takes a number, and `check` counts them to find the buffer of the next.
#[test]
fn views_with_and_without_their_buffer_are_numbered() {
    // [Uint8Array(a), b, Uint8Array(a), Uint8Array(b)]: a is 1, its view 2, b is 3.
    let bytes = hex(
        "ff0f 41 04 42 01 aa 56 42 00 01 00 42 02 bbcc 5e 01 56 42 00 01 00 5e 03 56 42 01 01 00 24 00 04",
    );
    assert_eq!(check(&bytes, Dialect::V8).map(|shape| shape.depth), Ok(1));
    assert!(from_slice::<serde::de::IgnoredAny>(&bytes, Dialect::V8).is_ok());
    let expected = vec![vec![0xaa_u8], vec![0xbb, 0xcc], vec![0xaa], vec![0xcc]];
    assert_eq!(from_slice(&bytes, Dialect::V8), Ok(expected));
    assert_eq!(written(&read_all(&bytes, Dialect::V8), Dialect::V8), bytes);
}

#[test]
fn bigints_are_integers_of_any_size() {
    assert_eq!(i128::try_from(&BigInt::from(i128::MIN)), Ok(i128::MIN));
    assert_eq!(u128::try_from(&BigInt::from(u128::MAX)), Ok(u128::MAX));
    assert_eq!(i128::try_from(&BigInt::from(u128::MAX)), Err(BigIntTooBig));
    assert_eq!(u64::try_from(&BigInt::from(-1_i64)), Err(BigIntTooBig));
    assert_eq!(BigInt::from_digits(true, &[0, 0]), BigInt::default());
    assert_eq!(
        BigInt::from_le_bytes(false, &[1, 0, 0, 0, 0, 0, 0, 0, 2]).digits(),
        [1, 2]
    );
    assert_eq!(BigInt::from(-5_i64).to_string(), "-5");
    assert_eq!(
        BigInt::from_digits(true, &[1, 0, 10]).to_string(),
        "-0xa00000000000000000000000000000001"
    );
}

#[test]
fn flags_are_told_in_javascripts_order() {
    let regexp = RegExp::new("a", "yvg").unwrap();
    assert_eq!(regexp.flags(), "gvy");
    assert_eq!(RegExp::new("a", "q"), None);
}

#[test]
fn a_document_is_taken_into_another_with_its_cycles() {
    let mut inner = Document::default();
    let ring = inner.add(Object::Plain(Properties::new()));
    let Some(Object::Plain(properties)) = inner.object_mut(ring) else {
        unreachable!()
    };
    properties.insert("self", ring);
    let map = inner.add(Object::Map(vec![(ring.into(), ring.into())]));
    inner.set_root(map);

    let mut outer = Document::default();
    let before = outer.add_array([1]);
    let grafted = outer.graft(inner.clone());
    let root = outer.add_object([
        ("cmd", "NODE_HANDLE".into()),
        ("msg", grafted.clone()),
        ("x", before),
    ]);
    outer.set_root(root);
    assert_eq!(
        describe(&read_all(&written(&outer, Dialect::Ipc), Dialect::Ipc)),
        describe(&outer)
    );
    outer.set_root(grafted);
    assert_eq!(outer, inner, "only what is reached counts");
}

#[test]
fn documents_differ_by_what_is_shared() {
    let pair = |shared: bool| {
        let mut document = Document::default();
        let one = document.add_array([1]);
        let other = if shared {
            one.clone()
        } else {
            document.add_array([1])
        };
        let root = document.add_array([one, other]);
        document.set_root(root);
        document
    };
    assert_eq!(pair(true), pair(true));
    assert_ne!(pair(true), pair(false));
    assert_ne!(pair(false), pair(true));
}

#[test]
fn a_view_of_a_buffer_has_its_own_bytes_over_a_channel() {
    let mut document = Document::default();
    let bytes = (0..8).collect();
    let buffer = document.add(Object::ArrayBuffer(ArrayBuffer { bytes, max: None }));
    let part = |offset, length| View {
        kind: ViewKind::Uint16,
        bytes: ViewBytes::Of {
            buffer,
            offset,
            length,
            tracks_length: false,
            resizable: false,
        },
    };
    let view = document.add(Object::View(part(2, 4)));
    document.set_root(view);
    assert_eq!(document.view().bytes(), Some(&[2, 3, 4, 5][..]));
    assert_eq!(
        written(&document, Dialect::Ipc),
        hex("ff0f 5c 00 04 04 02030405")
    );
    assert_eq!(
        written(&document, Dialect::V8),
        hex("ff0f 42 08 0001020304050607 56 57 02 04 00")
    );
    *document.object_mut(view).unwrap() = Object::View(part(6, 4));
    for dialect in [Dialect::Ipc, Dialect::V8] {
        let mut out = vec![1];
        let error = write(&document, dialect, &WriteOptions::default(), &mut out);
        assert_eq!((error, out), (Err(WriteError::BadView), vec![1]));
    }
}

#[test]
fn what_cannot_be_written_says_why() {
    let mut document = Document::default();
    let native = document.add(Object::Native(Value::Null));
    document.set_root(native);
    let mut out = Vec::new();
    let error = write(&document, Dialect::V8, &WriteOptions::default(), &mut out);
    assert_eq!(error, Err(WriteError::NativeOutsideChannel));
    let other = Document::new(native);
    let error = write(&other, Dialect::Ipc, &WriteOptions::default(), &mut out);
    assert_eq!(error, Err(WriteError::NoSuchObject(native)));
    assert_eq!(
        error.unwrap_err().to_string(),
        "the message refers to object #0, which it does not have"
    );
    assert!(out.is_empty());
}

#[test]
fn one_step_after_the_other_looks_into_a_document() {
    let mut document = Document::default();
    let map = document.add(Object::Map(vec![("k".into(), "v".into())]));
    let list = document.add_array([Value::Int(4), map.into()]);
    let root = document.add_object([("list", list)]);
    document.set_root(root);
    let list = document.view().get("list").unwrap();
    assert_eq!(list.get("0").and_then(ValueRef::as_f64), Some(4.0));
    assert_eq!(
        list.get("1")
            .and_then(|map| map.get("k"))
            .and_then(ValueRef::as_str)
            .as_deref(),
        Some("v")
    );
    assert!(list.get("2").is_none() && list.get("x").is_none());
    assert!(document.get("list").is_some() && document.get("other").is_none());
}
