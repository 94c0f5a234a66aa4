//! What may be requested, case by case.

use super::*;

fn grants(entries: &[(&str, u16, &str, &str)]) -> Grants {
    let grant = |(host, port, methods, path): &(&str, u16, &str, &str)| HttpGrant {
        host: (*host).into(),
        port: *port,
        methods: methods.split(' ').map(str::to_owned).collect(),
        path: (*path).into(),
    };
    Grants { http: entries.iter().map(grant).collect(), ..Grants::default() }
}

#[track_caller]
fn check(grant: (&str, u16, &str, &str), method: &str, url: &str, expected: bool) {
    let target = Target::read(url).unwrap();
    assert_eq!(grants(&[grant]).allows_http(method, &target), expected, "{url} -> {target:?}");
}

#[test]
fn a_request_fits_its_grant_in_every_part() {
    let grant = ("a.example", 443, "GET POST", "/hooks/");
    check(grant, "GET", "https://a.example/hooks/x?y=1", true);
    check(grant, "POST", "https://A.EXAMPLE:443/hooks/", true);
    check(grant, "POST", "https://a.example./hooks/x", true);
    check(grant, "PUT", "https://a.example/hooks/x", false);
    check(grant, "GET", "https://a.example/hooks", false);
    check(grant, "GET", "https://a.example/hook", false);
    check(grant, "GET", "https://a.example:8443/hooks/x", false);
    check(grant, "GET", "http://a.example/hooks/x", false);
    check(grant, "GET", "https://b.example/hooks/x", false);
    check(grant, "GET", "https://a.example.evil/hooks/x", false);
    check(("a.example", 443, "GET", "/v1"), "GET", "https://a.example/v1/rows", true);
    check(("a.example", 443, "GET", "/v1"), "GET", "https://a.example/v1?a", true);
    check(("a.example", 443, "GET", "/v1"), "GET", "https://a.example/v10", false);
}

#[test]
fn other_spellings_of_an_address_are_seen_through() {
    let grant = ("a.example", 443, "GET", "/hooks/");
    check(grant, "GET", "https://a.example/hooks/../admin", false);
    check(grant, "GET", "https://a.example/hooks/%2e%2e/admin", false);
    check(grant, "GET", "https://a.example/hooks/..%2fadmin", false);
    check(grant, "GET", "https://a.example/hooks\\..\\admin", false);
    check(grant, "GET", "https://a.example/hooks/%5C..%5Cadmin", false);
    check(("127.0.0.1", 80, "GET", "/"), "GET", "http://0x7f.1/", true);
    check(("127.0.0.1", 80, "GET", "/"), "GET", "http://2130706433/", true);
    check(("::1", 80, "GET", "/"), "GET", "http://[0:0::1]/", true);
    check(("[::1]", 80, "GET", "/"), "GET", "http://[::1]/", true);
}

#[test]
fn what_is_no_address_is_named() {
    let long = format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX));
    for (url, expected) in [
        ("rows.json", "not a whole address"),
        ("ftp://a.example/", "scheme `ftp`"),
        ("file:///etc/passwd", "scheme `file`"),
        ("https://me:pass@a.example/", "a user or a password"),
        ("https://", "not a whole address"),
        (long.as_str(), "at most 8192"),
    ] {
        let error = Target::read(url).unwrap_err();
        assert!(error.contains(expected) && !error.contains("pass@"), "{error}");
    }
    let here = Target::read("https://a.example/x").unwrap();
    assert!(here.redirected("http://a.example/x").unwrap_err().contains("from https"));
    assert_eq!(here.redirected("../y?z").unwrap().url.as_str(), "https://a.example/y?z");
}

#[test]
fn the_line_keeps_what_is_granted_already() {
    let target = Target::read("http://127.0.0.1:8080/a?b").unwrap();
    let line = grants(&[("b.example", 443, "GET", "/")]).http_line("web", "POST", &target);
    let expected = r#"[plugin.web.grant] http = [{ host = "b.example", port = 443, methods = ["GET"], path = "/" }, { host = "127.0.0.1", port = 8080, methods = ["POST"], path = "/a" }]"#;
    assert_eq!(line, expected);
}

#[test]
fn a_secret_goes_only_where_it_is_bound_to() {
    let value = SecretValue::new("Bearer 0123456789").unwrap();
    let secret = |host: &str, path: &str| SecretGrant {
        name: "key".into(),
        header: "authorization".into(),
        host: host.into(),
        path: path.into(),
        value: value.clone(),
        from: "env:KEY".into(),
    };
    let grants = Grants { secrets: vec![secret("a.example", "/hooks/")], ..Grants::default() };
    let at = |grants: &Grants, name: &str, url: &str| {
        grants.secret("web", name, "POST", &Target::read(url).unwrap()).map(|secret| secret.value.clone())
    };
    assert_eq!(at(&grants, "key", "https://a.example/hooks/x"), Ok(value.clone()));
    assert!(at(&grants, "key", "https://a.example/other").unwrap_err().what.contains("bound to `a.example/hooks/`, to `a.example/other`"));
    assert!(at(&grants, "key", "https://b.example/hooks/x").unwrap_err().what.contains("to `b.example/hooks/x`"));
    assert!(at(&grants, "key", "http://a.example/hooks/x").unwrap_err().what.contains("without TLS"));
    let line = at(&grants, "other", "https://a.example/hooks/x").unwrap_err().line;
    assert_eq!(
        line,
        r#"[plugin.web.grant] secrets = [{ name = "key", header = "authorization", host = "a.example", path = "/hooks/", from = "env:KEY" }, { name = "other", header = "authorization", host = "a.example", path = "/hooks/x", from = "env:NAME" }]"#
    );
    let two = Grants { secrets: vec![secret("a.example", "/hooks/"), secret("b.example", "/")], ..Grants::default() };
    assert_eq!(at(&two, "key", "https://b.example/hooks/x"), Ok(value.clone()), "a name may be bound twice");
    let local = Grants { secrets: vec![secret("127.0.0.1", "/")], ..Grants::default() };
    assert_eq!(at(&local, "key", "http://127.0.0.1:81/x"), Ok(value.clone()), "this machine needs no TLS");
}

#[test]
fn headers_that_could_change_the_request_are_refused() {
    let one = |name: &str, value: &str| headers(vec![Header { name: name.into(), value: value.into() }]);
    assert_eq!(one("X-Key", "a b").unwrap(), [("x-key".to_owned(), "a b".to_owned())]);
    for (name, value, expected) in [
        ("Host", "b.example", "host's to set"),
        ("Transfer-Encoding", "chunked", "host's to set"),
        ("x\r\ny", "1", "not the name"),
        ("", "1", "not the name"),
        ("x", "1\r\nhost: b", "control character"),
    ] {
        assert!(one(name, value).unwrap_err().contains(expected), "{name}");
    }
    let many = || (0..=HEADERS_MAX).map(|number| Header { name: format!("h{number}"), value: String::new() }).collect();
    assert!(headers(many()).unwrap_err().contains("65 headers"));
    assert!(method("GE T").is_err() && method("").is_err());
    assert_eq!(method("post").unwrap(), "POST");
}

#[test]
fn every_trace_of_a_secret_is_taken_out() {
    let secret = SecretValue::new("Bearer abcabcab").unwrap();
    let text = |bytes: &str| String::from_utf8(redacted(bytes.into(), &[secret.clone(), secret.clone()])).unwrap();
    assert_eq!(text("you sent `Bearer abcabcab`, so abcabcababcabcab!"), "you sent `[redacted]`, so [redacted][redacted]!");
    assert_eq!(text("nothing of it: abcabca"), "nothing of it: abcabca");
}

/// Whoever is asked knows the secret, and may send it back any number of times, or almost: the search must not take longer for it.
#[test]
fn an_answer_made_of_secrets_is_redacted_in_one_pass() {
    let secret = SecretValue::new("a".repeat(4_000)).unwrap();
    let almost = [vec![b'a'; 3_999], vec![b'b']].concat().repeat(2_000);
    assert_eq!(redacted(almost.clone(), std::slice::from_ref(&secret)), almost);
    let short = SecretValue::new("abababab").unwrap();
    assert_eq!(redacted(b"abababab".repeat(1_000_000), &[short]).len(), 10_000_000);
}
