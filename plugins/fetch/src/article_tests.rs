use super::*;

fn url() -> Url {
    Url::parse("https://example.com/docs/page?x=1").unwrap()
}

fn markdown(html: &str) -> String {
    read(html, &url()).markdown
}

fn story() -> String {
    let paragraph = "Tollgates were built on turnpike roads, and a keeper, who lived beside the gate, took the toll from \
                     each traveller, noted it in a book, and let the traveller, or the carriage, or the herd, pass. ";
    format!("<p>{}</p>", paragraph.repeat(3)).repeat(6)
}

#[test]
fn the_main_content_is_found_and_the_rest_is_left_out() {
    let html = format!(
        "<html><head><title>Tollgates &amp; turnpikes</title></head><body><nav><a href='/'>Home</a> <a href='/all'>All</a></nav>\
         <div class='sidebar'><ul><li><a href='/ad'>Buy now</a></li></ul></div>\
         <article><h1>Tollgates</h1>{}<h2>Further</h2><ul><li>one</li><li>two</li></ul><p>See <a href='../map'>the map, it is a very good map of all of the roads, with gates</a>.</p></article>\
         <footer>Copyright notice</footer></body></html>",
        story()
    );
    let article = read(&html, &url());
    assert_eq!(article.title.as_deref(), Some("Tollgates & turnpikes"));
    let text = article.markdown;
    assert!(text.contains("Tollgates were built"), "{text}");
    assert!(text.contains("(https://example.com/map)"), "{text}");
    for left_out in ["Buy now", "Copyright notice", "Home"] {
        assert!(!text.contains(left_out), "{left_out}: {text}");
    }
}

#[test]
fn a_page_that_is_no_article_is_given_whole() {
    let text = markdown(
        "<body><header>Banner</header><h1>Links</h1><ul><li><a href=/a>A</a></li><li><a href='b?c#d'>B</a></li></ul>\
         <table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table><pre><code>let x = 1;</code></pre></body>",
    );
    assert!(text.starts_with("# Links"), "{text}");
    assert!(text.contains("[A](https://example.com/a)"), "{text}");
    assert!(
        text.contains("[B](https://example.com/docs/b?c#d)"),
        "{text}"
    );
    assert!(text.contains("| k | v |"), "{text}");
    assert!(text.contains("```\nlet x = 1;\n```"), "{text}");
    assert!(!text.contains("Banner"));
    assert_eq!(
        markdown("<body><header>Only a banner</header></body>"),
        "Only a banner"
    );
}

#[test]
fn a_base_element_counts_for_links() {
    let text =
        markdown("<head><base href='https://other.example/deep/'></head><p><a href='x'>x</a></p>");
    assert!(text.contains("(https://other.example/deep/x)"), "{text}");
    let text = markdown("<head><base href='javascript:1'></head><p><a href='x'>x</a></p>");
    assert!(!text.contains("javascript"), "{text}");
}

#[test]
fn what_people_do_not_see_is_left_out() {
    let text = markdown(
        "<p>seen</p><p hidden>secret1</p><p style='Display : None'>secret2</p><p style='visibility:hidden'>secret3</p>\
         <p aria-hidden='true'>secret4</p><!-- secret5 --><script>secret6</script><style>secret7</style>\
         <template>secret8</template><noscript>secret9</noscript><svg><text>secret10</text></svg>\
         <div style='font-size:0px'>secret11</div><div style='opacity:0'>secret12</div><p>a\u{e0041}\u{202e}\u{200b}b</p>",
    );
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("seen") && text.contains("ab"), "{text}");
}

#[test]
fn links_that_are_not_of_the_web_lose_their_target() {
    let text = markdown(
        "<p><a href='javascript:alert(1)'>one</a> <a href='data:text/html,x'>two</a> <a href='file:///etc/passwd'>three</a>\
         <a href=' JaVaScRiPt:1'>four</a> <a href='mailto:a@b.example'>five</a><img src='data:image/png;base64,AAAA' alt='pic'></p>",
    );
    for gone in ["javascript", "data:", "file:", "JaVa"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(
        text.contains("one") && text.contains("mailto:a@b.example"),
        "{text}"
    );
}

#[test]
fn nesting_without_end_is_cut_and_not_fatal() {
    for tag in [
        "div",
        "blockquote",
        "ul><li",
        "b",
        "table><tr><td",
        "span",
        "em",
        "section",
    ] {
        let html = format!("<p>before</p>{}deep</p>", format!("<{tag}>").repeat(20_000));
        let article = read(&html, &url());
        assert!(article.cut && article.markdown.contains("before"), "{tag}");
    }
}

#[test]
fn what_stands_after_something_too_deep_is_kept() {
    let html = format!(
        "<p>before</p>{}deep{}<p>after</p>",
        "<div>".repeat(500),
        "</div>".repeat(500)
    );
    let text = markdown(&html);
    assert!(
        text.contains("before") && text.contains("after") && !text.contains("deep"),
        "{text}"
    );
}

#[test]
fn tags_that_need_no_end_are_not_nesting() {
    let html = format!("{}<p>last", "<p>x<br><img src=a>".repeat(3_000));
    let article = read(&html, &url());
    assert!(!article.cut && article.markdown.contains("last"));
    let html = format!("<script>{}</script><p>last", "'<div>'".repeat(3_000));
    assert_eq!(markdown(&html), "last");
}

#[test]
fn a_page_of_too_many_elements_is_cut() {
    let article = read(&"<p>x".repeat(60_000), &url());
    assert!(article.cut && article.markdown.contains('x'));
}

#[test]
fn a_huge_page_is_cut_and_says_so() {
    let html = format!("<p>{}</p>", "ä ".repeat(HTML_BYTES));
    let article = read(&html, &url());
    assert!(article.cut && article.markdown.len() <= HTML_BYTES);
    assert!(!read("<p>x</p>", &url()).cut);
}

#[test]
fn malformed_html_is_read_as_browsers_do() {
    assert_eq!(markdown("<p>a<p>b</div></span><b>c"), "a\n\nb**c**");
    assert_eq!(markdown(""), "");
    assert_eq!(markdown("<"), "\\<");
    assert_eq!(markdown("just text"), "just text");
    assert!(markdown("<table><td>x<table><td>y").contains('y'));
    assert_eq!(markdown("\u{0}\u{0}<p>x"), "x");
}

#[test]
fn titles_are_one_short_line() {
    let title = |html: &str| read(html, &url()).title;
    assert_eq!(title("<title> a\n\n b </title>").as_deref(), Some("a b"));
    assert_eq!(
        title("<title></title><meta property='og:title' content='og'>").as_deref(),
        Some("og")
    );
    assert_eq!(title("<h1>heading</h1>").as_deref(), Some("heading"));
    assert_eq!(title("<p>none"), None);
    assert_eq!(
        title(&format!("<title>{}</title>", "x".repeat(9_000)))
            .unwrap()
            .len(),
        200
    );
}

#[test]
fn tidy_keeps_paragraphs_and_breaks() {
    assert_eq!(tidy("a  \nb \n\n\n\nc\r\n\u{feff}d\n\n"), "a  \nb\n\nc\nd");
}

mod property {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn no_html_panics(html in "(<(/)?(p|div|a|table|tr|td|ul|li|pre|code|b|h1|article|svg|base|title)( (href|src|style|hidden)=('[a-z:/.#?%]{0,8}'|x))?>|[a-z&;# ]{0,6}|<!--|-->|\\PC){0,40}") {
            let article = read(&html, &url());
            prop_assert!(!article.markdown.chars().any(invisible) || article.markdown.contains('\n'));
        }
    }
}
