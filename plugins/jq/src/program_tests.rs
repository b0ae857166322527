use super::*;
use serde_json::json;

fn ok(filter: &str, input: &Value) -> Vec<Value> {
    run(filter, &input.to_string(), 100).unwrap().results
}

fn error(filter: &str, input: &str) -> String {
    run(filter, input, 100).unwrap_err().0
}

#[test]
fn filters_select_map_and_build() {
    let people = json!([{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}]);
    assert_eq!(ok(".[].name", &people), [json!("Ada"), json!("Alan")]);
    assert_eq!(ok("map(select(.age > 40)) | length", &people), [json!(1)]);
    assert_eq!(
        ok("{names: map(.name), total: (map(.age) | add)}", &people),
        [json!({"names": ["Ada", "Alan"], "total": 77})]
    );
    assert_eq!(
        ok("group_by(.age > 40) | map(length)", &people),
        [json!([1, 1])]
    );
    assert_eq!(ok(".. | numbers", &people), [json!(36), json!(41)]);
    assert_eq!(ok("empty", &people), Vec::<Value>::new());
}

#[test]
fn numbers_are_written_as_jq_writes_them() {
    assert_eq!(
        ok("6 / 2, 1.5 * 2, 10 / 4", &json!(null)),
        [json!(3), json!(3), json!(2.5)]
    );
    assert_eq!(
        ok("nan, infinite", &json!(null)),
        [json!(null), json!(f64::MAX)]
    );
    assert_eq!(
        ok(".", &json!(9_007_199_254_740_991_i64)),
        [json!(9_007_199_254_740_991_i64)]
    );
    assert_eq!(ok("pow(2; 10), sqrt", &json!(16)), [json!(1024), json!(4)]);
    assert_eq!(
        ok("frexp, modf", &json!(6.5)),
        [json!([0.8125, 3]), json!([0.5, 6])]
    );
    assert_eq!(
        ok("fma(2; 3; 4), ldexp(1; 3), atan2(0; 1)", &json!(0)),
        [json!(10), json!(8), json!(0)]
    );
}

#[test]
fn regular_expressions_work_and_count_characters() {
    assert_eq!(ok(r#"test("b+")"#, &json!("äbb")), [json!(true)]);
    assert_eq!(
        ok(
            r#"match("b+") | [.offset, .length, .string]"#,
            &json!("äbb")
        ),
        [json!([1, 2, "bb"])]
    );
    assert_eq!(
        ok(r#"capture("(?<y>\\d+)-(?<m>\\d+)")"#, &json!("2026-11")),
        [json!({"y": "2026", "m": "11"})]
    );
    assert_eq!(
        ok(r#"gsub("[aeiou]"; "_")"#, &json!("tollgate")),
        [json!("t_llg_t_")]
    );
    assert_eq!(
        ok(r#"[splits(", *")]"#, &json!("a, b,c")),
        [json!(["a", "b", "c"])]
    );
    assert_eq!(ok(r#"[scan("a"; "i")]"#, &json!("aA")), [json!(["a", "A"])]);
    assert!(error(r#"test("(")"#, "\"x\"").contains("invalid regex"));
    assert!(error(r#"test("a"; "q")"#, "\"x\"").contains("invalid regex flag: q"));
    assert!(error(r#"test("((a{1000}){1000}){1000}")"#, "\"x\"").contains("invalid regex"));
}

#[test]
fn a_pattern_that_backtracks_elsewhere_ends_here() {
    let text = "a".repeat(2_000);
    assert_eq!(ok(r#"test("^(a+)+$x")"#, &json!(text)), [json!(false)]);
}

#[test]
fn dates_are_utc() {
    assert_eq!(
        ok("fromdate", &json!("2026-11-22T13:00:00Z")),
        [json!(1_795_352_400)]
    );
    assert_eq!(
        ok("todate", &json!(1_795_352_400)),
        [json!("2026-11-22T13:00:00Z")]
    );
    assert_eq!(
        ok(r#"strftime("%A, %Y-%m-%d")"#, &json!(1_795_352_400)),
        [json!("Sunday, 2026-11-22")]
    );
    assert_eq!(
        ok(
            r#"strptime("%Y-%m-%d %H:%M") | mktime"#,
            &json!("2026-11-22 13:00")
        ),
        [json!(1_795_352_400)]
    );
    assert_eq!(
        ok("gmtime", &json!(0)),
        [json!([1970, 0, 1, 0, 0, 0, 4, 0])]
    );
    assert_eq!(
        ok(
            r#"strptime("%Y-%m-%dT%H:%M:%S%z") | .[3]"#,
            &json!("2026-11-22T13:00:00+0200")
        ),
        [json!(13)]
    );
    assert!(error("todate", "1e300").starts_with("the filter failed"));
    assert!(error("mktime", "[1,2]").contains("cannot convert"));
}

#[test]
fn formats_escape() {
    assert_eq!(
        ok("@html, @uri, @base64", &json!("<a b='&'>")),
        [
            json!("&lt;a b=&#39;&amp;&#39;&gt;"),
            json!("%3Ca%20b%3D%27%26%27%3E"),
            json!("PGEgYj0nJic+"),
        ]
    );
    assert_eq!(ok("@base64d", &json!("w6Q=")), [json!("ä")]);
    assert_eq!(ok("@htmld", &json!("&amp;lt; &x &")), [json!("&lt; &x &")]);
    assert_eq!(ok("@urid", &json!("a%20b%C3%A4")), [json!("a bä")]);
    assert_eq!(
        ok("@json, @text", &json!({"a": [1]})),
        [json!("{\"a\":[1]}"), json!("{\"a\":[1]}")]
    );
    assert_eq!(ok("@sh", &json!("it's")), [json!(r"'it'\''s'")]);
}

#[test]
fn a_filter_that_does_not_compile_says_where() {
    assert_eq!(
        error(".a | foo", "{}"),
        "the filter does not compile: line 1, column 6: there is no filter `foo` with 0 arguments"
    );
    assert_eq!(
        error(".a |\n  $x", "{}"),
        "the filter does not compile: line 2, column 3: there is no variable `$x`"
    );
    let message = error(".a | ", "{}");
    assert!(
        message.starts_with(
            "the filter does not compile: line 1, column 6: expected term, found the end"
        ),
        "{message}"
    );
    assert!(
        error("(.a", "{}")
            .ends_with("line 1, column 4: expected closing parenthesis, found the end")
    );
    assert!(
        error("\"ä\" | }", "{}").contains("line 1, column 7"),
        "{}",
        error("\"ä\" | }", "{}")
    );
}

#[test]
fn an_error_of_the_filter_is_passed_on_with_what_came_before() {
    assert_eq!(
        error(".[0] + 1", "[\"a\"]"),
        "the filter failed: cannot calculate \"a\" + 1"
    );
    assert_eq!(
        error("1, 2, error(\"stop\")", "null"),
        "the filter failed after 2 results: stop"
    );
    assert_eq!(
        ok("try error(\"stop\") catch .", &json!(null)),
        [json!("stop")]
    );
    assert!(error("error(\"x\" * 100000)", "null").len() < 2_100);
}

#[test]
fn nothing_but_the_input_can_be_reached() {
    for filter in [
        "now",
        "env",
        "$ENV",
        "input",
        "inputs",
        "input_filename",
        "localtime",
        "strflocaltime(\"%Z\")",
        "get_search_list",
        "$__prog_args",
    ] {
        assert!(
            error(filter, "null").starts_with("the filter does not compile"),
            "{filter}"
        );
    }
    for filter in [
        "import \"a\" as a; 1",
        "include \"a\"; 1",
        "import \"a\" as $a; $a",
    ] {
        let message = error(filter, "null");
        assert!(
            message.starts_with("the filter does not compile"),
            "{filter}: {message}"
        );
    }
    assert_eq!(
        ok("debug, (1 | stderr), debug(\"x\")", &json!(0)),
        [json!(0), json!(1), json!(0)]
    );
}

#[test]
fn halt_ends_the_filter_and_not_the_plugin() {
    assert_eq!(ok("1, halt, 2", &json!(null)), [json!(1)]);
    assert_eq!(
        error("1, halt_error, 2", "\"x\""),
        "the filter failed after 1 result: halted with exit code 5"
    );
}

#[test]
fn outputs_are_limited_in_number_and_size() {
    let some = run("range(1000000000)", "null", 3).unwrap();
    assert_eq!(
        some,
        Outputs {
            results: vec![json!(0), json!(1), json!(2)],
            truncated: true
        }
    );
    assert!(!run("range(3)", "null", 3).unwrap().truncated);
    assert_eq!(run("range(3)", "null", 0).unwrap().results.len(), 1);
    let large = run("repeat(\"x\" * 100000)", "null", 100).unwrap();
    assert!(
        large.truncated && large.results.len() == 3,
        "{}",
        large.results.len()
    );
    assert!(error("\"x\" * 1000000", "null").contains("larger than"));
}

#[test]
fn nesting_is_refused_before_it_can_exhaust_the_stack() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        error(".", &deep),
        "the input is nested deeper than 128 levels"
    );
    assert!(
        error(&format!("{}1{}", "(".repeat(100), ")".repeat(100)), "null")
            .contains("brackets open at once")
    );
    assert!(error(&".".repeat(9_000), "null").contains("bytes long"));
    assert!(error("reduce range(200) as $i (null; [.])", "null").contains("nested deeper"));
    let in_a_string = format!("\"{}\\\"{}\"", "[".repeat(500), "{".repeat(500));
    assert!(run("length", &in_a_string, 1).is_ok());
}

#[test]
fn malformed_input_is_named() {
    for input in ["", "{", "[1,]", "nul", "\"a", "1 2", "{\"a\":}"] {
        assert!(
            error(".", input).starts_with("the input is not JSON"),
            "{input}"
        );
    }
}

#[test]
fn keys_and_bytes_that_json_lacks_become_text() {
    assert_eq!(ok("{(\"a\"): 1}", &json!(null)), [json!({"a": 1})]);
    assert_eq!(
        ok("\"ä\" | tobytes | type", &json!(null)),
        [json!("string")]
    );
}

mod property {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_filter_panics(filter in "[-.|,\\[\\](){}a-z0-9\"$ :;?*+/=<>\\\\]{0,40}") {
            let _ = run(&filter, "{\"a\":[1,\"x\",null]}", 10);
        }

        #[test]
        fn identity_keeps_every_text(text in ".*") {
            prop_assert_eq!(ok(".", &json!([text])), [json!([text])]);
        }
    }
}
