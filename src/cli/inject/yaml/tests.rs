//! YAML as manifests have it.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Node {
    parse(text, 1).unwrap().unwrap()
}

fn again(text: &str) -> String {
    emit(&read(text))
}

// Goal: what a document says is the same after it has been written again: types, octal numbers, words that one version of YAML takes
// for booleans and another does not, texts of many lines, and the order of keys.
#[test]
fn what_is_said_stays() {
    for text in [
        "mode: 0440\nzip: 010\nversion: 1.10\nyes: no\non: 'on'\nempty:\ntilde: ~\n",
        "b: 1\na:\n- x\n- y: 1\n  z: 2\n-\n  - n\n",
        "script: |\n  a\n\n    b\n  c\ntail: |-\n  x\n  y\nkeep: |+\n  z\n\n",
        "none: []\nnothing: {}\nquote: 'it''s'\n",
        "odd: \"tab\\tand\\u0007\"\nspaces: \"  a\\n b\"\n",
    ] {
        assert_eq!(again(text), text);
    }
    let flow = read(r#"{"a": {"b": [1, "1", true, null, 1.5e3]}, "c": "x\ny"}"#);
    assert_eq!(emit(&flow), "'a':\n  'b':\n  - 1\n  - '1'\n  - true\n  - null\n  - 1.5e3\n'c': |-\n  x\n  y\n");
    assert_eq!(read(&emit(&flow)), flow);
    assert_eq!(again("a: >-\n  one\n  two\nb: plain\n  goes on\n"), "a: 'one two'\nb: plain goes on\n");
}

// Goal: anchors, aliases and merge keys mean what they meant.
#[test]
fn aliases_become_what_they_stand_for() {
    let text = "base: &b\n  cpu: 1\n  memory: 2\none:\n  <<: *b\n  cpu: 3\ntwo: *b\n";
    assert_eq!(again(text), "base:\n  cpu: 1\n  memory: 2\none:\n  cpu: 3\n  memory: 2\ntwo:\n  cpu: 1\n  memory: 2\n");
}

// Goal: a mistake is named with its line, counted in the whole stream.
#[test]
fn mistakes_have_their_line() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let bomb = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        format!("{text}a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","))
    });
    for (text, says) in [
        ("a: 1\n\tb: 2\n", "not YAML"),
        ("a: 1\nb: [1\n", "not YAML"),
        ("a: *nobody\n", "not YAML"),
        ("a: {b: 1, b: 2}\n", "the key \"b\" is there a second time"),
        ("? [x]\n: y\n", "a key is a list"),
        ("a: !secret b\n", "the tag !secret"),
        ("a: &x [*x]\n", "an alias stands inside"),
        ("<<: 5\n", "`<<` takes a mapping"),
        (&deep, "nested deeper"),
        (&bomb, "nested deeper"),
        ("a: 1\n...\nb: 2\n", "without `---`"),
    ] {
        let said = parse(text, 41).expect_err(text).to_string();
        assert!(said.starts_with("line 4") && said.contains(says), "{text}: {said}");
    }
}

// Goal: a stream is cut where its documents begin and nowhere else, and nothing of it is lost.
#[test]
fn a_stream_is_cut_at_its_separators() {
    let stream = "# first\na: |\n  ---\n  x\n--- # second\n# of it\nb: 1\n---\n---\tc\n----\n";
    let found = split(stream);
    let texts: Vec<&str> = found.iter().map(|document| document.text).collect();
    assert_eq!(texts, ["# first\na: |\n  ---\n  x\n", "--- # second\n# of it\nb: 1\n", "---\n", "---\tc\n----\n"]);
    assert_eq!(texts.concat(), stream);
    assert_eq!(found.iter().map(|document| document.line).collect::<Vec<_>>(), [1, 5, 8, 9]);
    assert_eq!(found.iter().map(Document::head).collect::<Vec<_>>(), ["# first\n", "--- # second\n# of it\n", "---\n", ""]);
    assert_eq!(found.iter().map(Document::is_empty).collect::<Vec<_>>(), [false, false, true, false]);
}

fn scalar() -> impl Strategy<Value = Node> {
    let text = prop_oneof![any::<String>(), "[ a#:\\-\n\t'\"|>&*!%@`{}\\[\\],]{0,12}", "(a|\n| |\t|\u{85}|\u{2028}|\r){0,8}"];
    let plain = prop::sample::select(vec!["", "1", "0440", "true", "null", "yes", "a b", "-x", "http://a:1/b", "~"]);
    prop_oneof![text.prop_map(Node::string), plain.prop_map(Node::plain)]
}

fn tree() -> impl Strategy<Value = Node> {
    scalar().prop_recursive(4, 40, 5, |inner| {
        let entry = ("[a-z]{1,3}|[ :#'\"\n-]{1,4}", inner.clone());
        let map = prop::collection::btree_map(entry.0, entry.1, 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Node::List),
            map.prop_map(|map| Node::Map(map.into_iter().map(|(key, value)| (Node::string(key), value)).collect())),
        ]
    })
}

proptest! {
    // Goal: whatever text is in a manifest, it comes out as the same text.
    #[test]
    fn what_is_written_reads_the_same(tree in tree()) {
        let text = emit(&Node::map([("a", tree.clone()), ("b", Node::List(vec![tree.clone(), tree]))]));
        prop_assert_eq!(emit(&read(&text)), text.clone());
        let node = read(&text);
        let b = node.items("b");
        prop_assert_eq!(&b[0], &b[1]);
        prop_assert_eq!(node.get("a"), Some(&b[0]));
    }

    // Goal: the same, of single texts, compared with what was meant.
    #[test]
    fn a_text_reads_the_same(node in tree()) {
        let text = emit(&Node::map([("a", node.clone())]));
        prop_assert_eq!(read(&text), Node::map([("a", node)]), "{}", text);
    }
}
