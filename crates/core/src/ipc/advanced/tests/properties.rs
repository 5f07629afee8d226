use proptest::prelude::*;

use super::hostile::agree;
use super::*;

/// How a random value is made; objects are added as they come.
#[derive(Debug, Clone)]
enum Plan {
    Primitive(Primitive),
    Plain(Vec<(String, Self)>),
    Array(Vec<Option<Self>>, Vec<(String, Self)>),
    Sparse(u32, Vec<(u32, Self)>),
    Map(Vec<(Self, Self)>),
    Set(Vec<Self>),
    Error(usize, Option<String>, Option<Box<Self>>, Option<String>),
    Native(Box<Self>),
    Leaf(Leaf),
    /// One that has been begun before: shared, or a cycle.
    Again(usize),
}

#[derive(Debug, Clone)]
enum Primitive {
    Undefined,
    Null,
    Bool(bool),
    Int(i32),
    Number(f64),
    Big(bool, Vec<u64>),
    Text(String),
    Units(Vec<u16>),
}

#[derive(Debug, Clone)]
enum Leaf {
    Date(f64),
    RegExp(String, u16),
    Text(String),
    Buffer(Vec<u8>, Option<u32>),
    View(usize, Vec<u8>),
}

fn primitive() -> impl Strategy<Value = Primitive> {
    prop_oneof![
        Just(Primitive::Undefined),
        Just(Primitive::Null),
        any::<bool>().prop_map(Primitive::Bool),
        any::<i32>().prop_map(Primitive::Int),
        any::<f64>().prop_map(Primitive::Number),
        (any::<bool>(), prop::collection::vec(any::<u64>(), 0..4))
            .prop_map(|(negative, digits)| Primitive::Big(negative, digits)),
        ".{0,12}".prop_map(Primitive::Text),
        "[a-z]{0,140}".prop_map(Primitive::Text),
        prop::collection::vec(any::<u16>(), 0..8).prop_map(Primitive::Units),
    ]
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        any::<f64>().prop_map(Leaf::Date),
        (".{0,5}", 0_u16..512).prop_map(|(source, flags)| Leaf::RegExp(source, flags)),
        ".{0,5}".prop_map(Leaf::Text),
        (bytes(), prop::option::of(0_u32..100)).prop_map(|(bytes, more)| {
            let max = more.map(|more| more + u32::try_from(bytes.len()).unwrap());
            Leaf::Buffer(bytes, max)
        }),
        (0_usize..14, bytes()).prop_map(|(kind, bytes)| Leaf::View(kind, bytes)),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let ends = prop_oneof![
        4 => primitive().prop_map(Plan::Primitive),
        2 => leaf().prop_map(Plan::Leaf),
        1 => (0_usize..6).prop_map(Plan::Again),
    ];
    ends.prop_recursive(5, 40, 5, |inner| {
        let some = || prop::collection::vec(inner.clone(), 0..5);
        let named = || prop::collection::vec(("[a-c0-2é…]{0,3}", inner.clone()), 0..5);
        prop_oneof![
            named().prop_map(Plan::Plain),
            (
                prop::collection::vec(prop::option::of(inner.clone()), 0..5),
                named()
            )
                .prop_map(|(items, extra)| Plan::Array(items, extra)),
            (
                any::<u32>(),
                prop::collection::vec((0_u32..9, inner.clone()), 0..4)
            )
                .prop_map(|(length, properties)| Plan::Sparse(length, properties)),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Plan::Map),
            some().prop_map(Plan::Set),
            (
                0_usize..7,
                prop::option::of(".{0,5}"),
                prop::option::of(inner.clone().prop_map(Box::new)),
                prop::option::of(".{0,5}"),
            )
                .prop_map(|(name, message, cause, stack)| Plan::Error(name, message, cause, stack)),
            inner.prop_map(|inner| Plan::Native(Box::new(inner))),
        ]
    })
}

impl From<Primitive> for Value {
    fn from(primitive: Primitive) -> Self {
        match primitive {
            Primitive::Undefined => Self::Undefined,
            Primitive::Null => Self::Null,
            Primitive::Bool(value) => Self::Bool(value),
            Primitive::Int(value) => Self::Int(value),
            Primitive::Number(value) => Self::Number(value),
            Primitive::Big(negative, digits) => BigInt::from_digits(negative, &digits).into(),
            Primitive::Text(text) => text.into(),
            Primitive::Units(units) => JsString::from_utf16(units).into(),
        }
    }
}

impl From<Leaf> for Object {
    fn from(leaf: Leaf) -> Self {
        match leaf {
            Leaf::Date(value) => Self::Date(value),
            Leaf::RegExp(source, flags) => Self::RegExp(RegExp {
                source: source.into(),
                flags,
            }),
            Leaf::Text(text) => Self::Boxed(Boxed::String(text.into())),
            Leaf::Buffer(bytes, max) => Self::ArrayBuffer(ArrayBuffer { bytes, max }),
            Leaf::View(kind, mut bytes) => {
                let kind = ViewKind::ALL[kind];
                bytes.truncate(bytes.len() / kind.element_size() * kind.element_size());
                Self::View(View {
                    kind,
                    bytes: ViewBytes::Own(bytes),
                })
            }
        }
    }
}

const NAMES: [ErrorName; 7] = [
    ErrorName::Error,
    ErrorName::Eval,
    ErrorName::Range,
    ErrorName::Reference,
    ErrorName::Syntax,
    ErrorName::Type,
    ErrorName::Uri,
];

fn build(plan: Plan, document: &mut Document) -> Value {
    if let Plan::Primitive(primitive) = plan {
        return primitive.into();
    }
    if let Plan::Again(back) = plan {
        // The latest have begun and may still be open: cycles.
        let known = u32::try_from(document.objects().len()).unwrap();
        let back = u32::try_from(back).unwrap();
        return if back < known {
            ObjectId(known - 1 - back).into()
        } else {
            Value::Null
        };
    }
    let id = document.add(Object::Set(Vec::new()));
    let object = match plan {
        Plan::Primitive(_) | Plan::Again(_) => unreachable!("handled above"),
        Plan::Plain(properties) => properties
            .into_iter()
            .map(|(key, plan)| (key, build(plan, document)))
            .collect(),
        Plan::Array(items, extra) => Object::Array(Array {
            items: items
                .into_iter()
                .map(|item| item.map(|plan| build(plan, document)))
                .collect(),
            // Indices are elements, not properties beside them.
            extra: extra
                .into_iter()
                .map(|(key, plan)| (format!("x{key}"), build(plan, document)))
                .collect(),
        }),
        Plan::Sparse(length, properties) => Object::Sparse(SparseArray {
            length,
            properties: properties
                .into_iter()
                .map(|(key, plan)| (key, build(plan, document)))
                .collect(),
        }),
        Plan::Map(entries) => Object::Map(
            entries
                .into_iter()
                .map(|(key, value)| (build(key, document), build(value, document)))
                .collect(),
        ),
        Plan::Set(values) => Object::Set(
            values
                .into_iter()
                .map(|plan| build(plan, document))
                .collect(),
        ),
        Plan::Error(name, message, cause, stack) => Object::Error(Box::new(ErrorValue {
            name: NAMES[name],
            message: message.map(Into::into),
            cause: cause.map(|plan| build(*plan, document)),
            stack: stack.map(Into::into),
        })),
        Plan::Native(plan) => Object::Native(build(*plan, document)),
        Plan::Leaf(leaf) => leaf.into(),
    };
    *document.object_mut(id).unwrap() = object;
    id.into()
}

proptest! {
    #[test]
    fn any_document_comes_back(plan in plan(), cause_first in any::<bool>(), lead in 0_usize..3) {
        let mut document = Document::default();
        let root = build(plan, &mut document);
        document.set_root(root);
        let errors = if cause_first { ErrorOrder::CauseFirst } else { ErrorOrder::StackFirst };
        let options = WriteOptions { errors };
        let mut out = vec![1; lead];
        write(&document, Dialect::Ipc, &options, &mut out).unwrap();
        let again = read_all(&out[lead..], Dialect::Ipc);
        prop_assert!(again == document, "{document:?}\n{again:?}");
        let mut out_again = Vec::new();
        write(&again, Dialect::Ipc, &options, &mut out_again).unwrap();
        prop_assert_eq!(&out_again, &out[lead..]);
        prop_assert!(agree(&out_again, Dialect::Ipc));
    }

    #[test]
    fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..64), version in 13_u8..17) {
        let bytes = [&[0xff, version], &body[..]].concat();
        agree(&bytes, Dialect::Ipc);
        agree(&bytes, Dialect::V8);
        agree(&body, Dialect::Ipc);
    }
}
