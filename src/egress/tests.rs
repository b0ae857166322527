//! The S and R rows that need a connection, or that must not get one.

use std::time::Duration;

use super::fixture::*;
use super::*;
use crate::limits::HttpLimits;
use crate::reason::Reason;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const PUBLIC: &[&str] = &["93.184.216.34"];
const SHORT: Duration = Duration::from_millis(30);

#[tokio::test]
async fn s26_exactly_one_request_reaches_the_checked_address() {
    let mut upstream = Upstream::plain(OK, After::Close).await;
    let bench = Bench::new(&[PUBLIC], upstream.address);
    let headers = [("Accept", "text/plain"), ("X-Trace", "1")];
    let exchange = bench
        .send(
            "POST",
            "http://Granted.example:8080/a%2fb?q=1",
            &headers,
            "body",
            &[],
        )
        .await;
    let response = exchange.result.unwrap();
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"hi"[..])
    );
    assert_eq!(
        upstream.captured().await,
        "POST /a%2Fb?q=1 HTTP/1.1\r\naccept: text/plain\r\nx-trace: 1\r\nuser-agent: tollgate/0.1.0\r\n\
         host: granted.example:8080\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody"
    );
    assert_eq!(bench.dialled(), ["93.184.216.34:8080"]);
    assert_eq!(
        exchange.trace.address.unwrap().to_string(),
        "93.184.216.34:8080"
    );
    assert_eq!((exchange.trace.bytes_out, exchange.trace.bytes_in), (4, 2));
}

#[tokio::test]
async fn s09_s11_s12_an_answer_with_an_address_that_is_not_public_is_refused_whole() {
    let mut upstream = Upstream::plain(OK, After::Close).await;
    for answer in [
        &["10.0.0.5"][..],
        &["93.184.216.34", "10.0.0.5"],
        &["93.184.216.34", "::1"],
        &["2606:4700::1111", "::ffff:127.0.0.1"],
        &["169.254.169.254"],
    ] {
        let bench = Bench::new(&[answer], upstream.address);
        let exchange = bench.get("http://10.0.0.5.nip.example/").await;
        assert_eq!(reason(&exchange), Reason::EgressIpClass, "{answer:?}");
        let detail = exchange.result.unwrap_err().detail.unwrap();
        assert!(
            detail.contains("10.0.0.5.nip.example") && detail.contains(answer.last().unwrap()),
            "{detail}"
        );
        assert_eq!(bench.dialled(), [""; 0]);
    }
    assert!(upstream.is_untouched());
}

#[tokio::test]
async fn s10_there_is_no_second_look_up() {
    let upstream = Upstream::plain(OK, After::Close).await;
    let bench = Bench::new(&[PUBLIC, &["169.254.169.254"]], upstream.address);
    assert_eq!(
        bench
            .get("http://rebind.example/")
            .await
            .result
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        (bench.lookups(), bench.dialled()),
        (1, vec!["93.184.216.34:80".into()])
    );
    // The next request looks up anew, and is refused.
    assert_eq!(
        reason(&bench.get("http://rebind.example/").await),
        Reason::EgressIpClass
    );
    assert_eq!(bench.dialled().len(), 1);
}

#[tokio::test]
async fn an_address_that_policy_names_is_dialled_and_no_other() {
    let upstream = Upstream::plain(OK, After::Close).await;
    let lan = |address: std::net::IpAddr, class| {
        class == Class::Private && address.to_string().starts_with("10.")
    };
    let bench = Bench::new(
        &[&["10.0.0.5"], &["192.168.0.1"], &["::ffff:10.0.0.5"]],
        upstream.address,
    );
    let send = || async {
        let request = admitted("GET", "http://lan.example/", &[], "").unwrap();
        bench.outbound.send(request, &[], &lan, &bench.limits).await
    };
    assert!(send().await.result.is_ok());
    assert_eq!(reason(&send().await), Reason::EgressIpClass);
    // Whatever policy says: an address in disguise is not the address that it named.
    assert_eq!(reason(&send().await), Reason::EgressIpClass);
    let everything = |_, _| true;
    for url in [
        "http://[::ffff:7f00:1]/",
        "http://0.0.0.0/",
        "http://[ff02::1]/",
    ] {
        let request = admitted("GET", url, &[], "").unwrap();
        let exchange = bench
            .outbound
            .send(request, &[], &everything, &bench.limits)
            .await;
        assert_eq!(reason(&exchange), Reason::EgressIpClass, "{url}");
    }
    assert_eq!(bench.dialled(), ["10.0.0.5:80"]);
}

#[tokio::test]
async fn any_public_stays_public_whatever_policy_names() {
    let none: &[(&str, &str)] = &[];
    let bench = Bench::new(&[&["10.0.0.5"]], "127.0.0.1:9".parse().unwrap());
    let request = Request::parse("GET", "https://lan.example/", none, "", &bench.limits).unwrap();
    let request = admitted_under(crate::plugin::OriginScope::AnyPublic, request).unwrap();
    let everything = |_, _| true;
    let exchange = bench
        .outbound
        .send(request, &[], &everything, &bench.limits)
        .await;
    assert_eq!(reason(&exchange), Reason::EgressIpClass);
    assert_eq!(bench.dialled(), [""; 0]);
}

#[test]
fn a_send_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let bench = Bench::new(&[], "127.0.0.1:9".parse().unwrap());
    let request = admitted("GET", "https://granted.example/", &[], "").unwrap();
    let nothing = |_, _| false;
    is_send(&bench.outbound.send(request, &[], &nothing, &bench.limits));
}

#[tokio::test]
async fn a_literal_that_only_the_grant_names_is_not_dialled() {
    let bench = Bench::new(&[], "127.0.0.1:9".parse().unwrap());
    assert_eq!(
        reason(&bench.get("http://127.0.0.1:8080/").await),
        Reason::EgressIpClass
    );
    assert_eq!((bench.lookups(), bench.dialled().len()), (0, 0));
}

#[tokio::test]
async fn the_next_checked_address_is_tried() {
    let upstream = Upstream::plain(OK, After::Close).await;
    let answer: &[&str] = &["93.184.216.34", "93.184.216.35", "2606:4700::1111"];
    let config = OutboundConfig::default();
    let bench = Bench::with(&[answer], upstream.address, &["93.184.216.34"], &config);
    assert!(bench.get("http://granted.example/").await.result.is_ok());
    assert_eq!(
        bench.dialled(),
        ["93.184.216.34:80", "[2606:4700::1111]:80"]
    );
    let none = Bench::with(&[PUBLIC], upstream.address, PUBLIC, &config);
    assert_eq!(
        reason(&none.get("http://granted.example/").await),
        Reason::EgressConnect
    );
    let empty = Bench::new(&[&[]], upstream.address);
    assert_eq!(
        reason(&empty.get("http://granted.example/").await),
        Reason::EgressDns
    );
}

#[tokio::test]
async fn s13_s14_redirects_come_back() {
    for status in [301, 302, 303, 307, 308] {
        let reply = format!(
            "HTTP/1.1 {status} X\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
        );
        let upstream = Upstream::plain(reply, After::Close).await;
        let bench = Bench::new(&[PUBLIC], upstream.address);
        let response = bench.get("http://granted.example/").await.result.unwrap();
        assert_eq!(response.status, status);
        assert!(
            response
                .headers
                .contains(&("location".into(), b"http://169.254.169.254/".to_vec()))
        );
        assert_eq!((bench.lookups(), bench.dialled().len()), (1, 1));
    }
}

#[tokio::test]
async fn s29_every_request_has_a_connection_of_its_own() {
    let reply = "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n";
    let mut upstream = Upstream::plain(reply, After::Hold).await;
    let bench = Bench::new(&[PUBLIC], upstream.address);
    for _ in 0..2 {
        bench.get("http://granted.example/").await.result.unwrap();
        assert_eq!(upstream.captured().await.matches("HTTP/1.1").count(), 1);
    }
    assert_eq!(bench.dialled().len(), 2);
}

#[tokio::test]
async fn r08_too_many_or_too_large_response_headers() {
    let many: String = (0..40_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "a".repeat(70 << 10));
    for fields in [many, large, "x: 1\r\n".repeat(101)] {
        let reply = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        let upstream = Upstream::plain(reply, After::Close).await;
        let bench = Bench::new(&[PUBLIC], upstream.address);
        assert_eq!(
            reason(&bench.get("http://granted.example/").await),
            Reason::LimitResponseBytes
        );
    }
}

#[tokio::test]
async fn r13_each_silence_ends() {
    let limits = HttpLimits::default();
    for (reply, limits) in [
        (
            "",
            HttpLimits {
                first_byte: SHORT,
                ..limits
            },
        ),
        (
            "HTTP/1.1 200 OK\r\nx-slow",
            HttpLimits {
                first_byte: SHORT,
                ..limits
            },
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            HttpLimits {
                first_byte: SHORT,
                ..limits
            },
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
            HttpLimits {
                idle: SHORT,
                ..limits
            },
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n",
            HttpLimits {
                idle: SHORT,
                ..limits
            },
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
            HttpLimits {
                total: SHORT,
                ..limits
            },
        ),
    ] {
        let mut upstream = Upstream::plain(reply, After::Hold).await;
        let mut bench = Bench::new(&[PUBLIC], upstream.address);
        bench.limits = limits;
        assert_eq!(
            reason(&bench.get("http://granted.example/").await),
            Reason::LimitHttpTime,
            "{reply:?}"
        );
        // The server sees the end of the connection: nothing goes on behind. (With so short a total
        // the request itself may come too late.)
        if limits.total != SHORT {
            assert!(upstream.captured().await.starts_with("GET / HTTP/1.1\r\n"));
        }
    }
}

#[tokio::test]
async fn r13_what_never_ends_is_cut() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (reply, again) in [
        (chunked, "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\n", "x: 1\r\n"),
    ] {
        let upstream = Upstream::plain(reply, After::Repeat(again)).await;
        let mut bench = Bench::new(&[PUBLIC], upstream.address);
        bench.limits.response_body = 1 << 10;
        assert_eq!(
            reason(&bench.get("http://granted.example/").await),
            Reason::LimitResponseBytes,
            "{reply:?}"
        );
    }
    let upstream = Upstream::plain("", After::Repeat("HTTP/1.1 103 Early Hints\r\n\r\n")).await;
    let mut bench = Bench::new(&[PUBLIC], upstream.address);
    bench.limits.first_byte = SHORT;
    assert_eq!(
        reason(&bench.get("http://granted.example/").await),
        Reason::LimitHttpTime
    );
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let mut upstream =
        Upstream::plain("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", After::Hold).await;
    let bench = Bench::new(&[PUBLIC], upstream.address);
    tokio::select! {
        exchange = bench.get("http://granted.example/") => panic!("{exchange:?}"),
        () = upstream.arrived() => {}
    }
    assert!(upstream.captured().await.starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn r14_nothing_is_decompressed_and_bodies_are_bounded() {
    use std::io::Write as _;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 8 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let upstream = Upstream::plain([head.as_bytes(), &bomb].concat(), After::Close).await;
    let bench = Bench::new(&[PUBLIC], upstream.address);
    assert_eq!(
        bench
            .get("http://granted.example/")
            .await
            .result
            .unwrap()
            .body,
        bomb
    );

    let chunk = format!("{:x}\r\n{}\r\n", 1 << 10, "a".repeat(1 << 10));
    for reply in [
        String::from("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
            chunk.repeat(9)
        ),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(9 << 10)),
    ] {
        let upstream = Upstream::plain(reply, After::Close).await;
        let mut bench = Bench::new(&[PUBLIC], upstream.address);
        bench.limits.response_body = 8 << 10;
        assert_eq!(
            reason(&bench.get("http://granted.example/").await),
            Reason::LimitResponseBytes
        );
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    for reply in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    ] {
        let upstream = Upstream::plain(reply, After::Close).await;
        let bench = Bench::new(&[PUBLIC], upstream.address);
        assert_eq!(
            reason(&bench.get("http://granted.example/").await),
            Reason::EgressProtocol,
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn s28_only_the_configured_proxy_is_used_and_only_with_the_checked_address() {
    let mut proxy = Upstream::plain("HTTP/1.1 403 No\r\n\r\n", After::Close).await;
    let config = OutboundConfig {
        proxy: Some("http://10.9.9.9:3128".into()),
        ..OutboundConfig::default()
    };
    let bench = Bench::with(&[PUBLIC], proxy.address, &[], &config);
    let exchange = bench.get("https://granted.example/").await;
    assert_eq!(reason(&exchange), Reason::EgressConnect);
    assert!(exchange.trace.proxied);
    assert_eq!(
        proxy.captured().await,
        "CONNECT 93.184.216.34:443 HTTP/1.1\r\nhost: 93.184.216.34:443\r\n\r\n"
    );
    assert_eq!(bench.dialled(), ["10.9.9.9:3128"]);
    // The guard's decision is the same with a proxy as without.
    let bench = Bench::with(&[&["10.0.0.5"]], proxy.address, &[], &config);
    assert_eq!(
        reason(&bench.get("http://granted.example/").await),
        Reason::EgressIpClass
    );
    assert_eq!(bench.dialled(), [""; 0]);
    for text in [
        "proxy",
        "https://proxy.example",
        "http://user:hunter2@proxy.example",
        "http://proxy.example/x",
    ] {
        let config = OutboundConfig {
            proxy: Some(text.into()),
            ..OutboundConfig::default()
        };
        let error = Outbound::new(&config, std::sync::Arc::new(FixedClock))
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
