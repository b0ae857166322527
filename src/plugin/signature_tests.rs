use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(1_795_305_600);

fn signer(name: &str, seed: u8) -> Signer {
    Signer::new(name, &[seed; 32]).unwrap()
}

fn trust(signers: &[(&Signer, Option<Duration>)]) -> Trust {
    Trust {
        keys: signers
            .iter()
            .map(|(signer, expires)| TrustedKey {
                key: signer.key().clone(),
                expires: *expires,
            })
            .collect(),
        required: true,
    }
}

fn statement() -> Statement {
    Statement {
        plugin: "github".parse().unwrap(),
        component: Digest::of(b"component"),
        version: 7,
    }
}

fn says(trust: &Trust, note: Option<&str>) -> Result<Option<Signed>, String> {
    let plugin = "github".parse().unwrap();
    check(trust, &plugin, Digest::of(b"component"), note, NOW).map_err(|refusal| {
        assert_eq!(refusal.reason, Reason::PinSignature);
        refusal.message.into_owned()
    })
}

#[test]
fn a_statement_by_a_trusted_key_is_good() {
    let acme = signer("acme", 1);
    let note = statement().sign(&acme);
    let signed = says(&trust(&[(&acme, None)]), Some(&note)).unwrap();
    assert_eq!(
        signed,
        Some(Signed {
            key: "acme".into(),
            version: 7
        })
    );
}

/// The example of <https://pkg.go.dev/golang.org/x/mod/sumdb/note>, which the format is taken from.
#[test]
fn it_is_the_format_that_others_read() {
    let key: Key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        .parse()
        .unwrap();
    assert_eq!(key.name(), "PeterNeumann");
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let line = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    let bytes = STANDARD.decode(line).unwrap();
    assert_eq!(bytes[..4], key.id);
    UnparsedPublicKey::new(&ED25519, &key.public)
        .verify(text.as_bytes(), &bytes[4..])
        .unwrap();
}

#[test]
fn each_rule_that_is_broken_is_named() {
    let (acme, other) = (signer("acme", 1), signer("other", 2));
    let good = statement().sign(&acme);
    let trusts = trust(&[(&acme, None)]);
    let of = |change: &dyn Fn(&mut Statement)| {
        let mut statement = statement();
        change(&mut statement);
        statement.sign(&acme)
    };
    let expired = trust(&[(&acme, Some(NOW))]);
    for (what, trust, note, expected) in [
        ("none", &trusts, None, "is not signed"),
        (
            "unknown",
            &trusts,
            Some(statement().sign(&other)),
            "no key that is trusted",
        ),
        (
            "another key of that name",
            &trusts,
            Some(statement().sign(&signer("acme", 3))),
            "no key that is trusted",
        ),
        ("expired", &expired, Some(good.clone()), "has expired"),
        (
            "component",
            &trusts,
            Some(of(&|s| s.component = Digest::of(b"x"))),
            "another component",
        ),
        (
            "name",
            &trusts,
            Some(of(&|s| s.plugin = "gitlab".parse().unwrap())),
            "for the name `gitlab`",
        ),
        (
            "version",
            &trusts,
            Some(good.replace("version 7", "version 8")),
            "does not verify",
        ),
        (
            "number",
            &trusts,
            Some(good.replace("version 7", "version +7")),
            "no signed note",
        ),
        (
            "a line more",
            &trusts,
            Some(good.replace("version 7\n", "version 7\nfor all\n")),
            "no signed note",
        ),
        (
            "no signature",
            &trusts,
            Some(statement().to_string()),
            "no signed note",
        ),
        (
            "cut",
            &trusts,
            Some(good.trim_end().to_owned()),
            "no signed note",
        ),
    ] {
        let message = says(trust, note.as_deref()).unwrap_err();
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn a_signature_of_an_old_key_may_stand_beside_the_new_ones() {
    let (old, new) = (signer("acme-1", 1), signer("acme-2", 2));
    let both = format!(
        "{}{}",
        statement().sign(&old),
        statement().sign(&new).rsplit_once("\n\n").unwrap().1
    );
    let rolled = trust(&[(&old, Some(NOW)), (&new, None)]);
    assert_eq!(says(&rolled, Some(&both)).unwrap().unwrap().key, "acme-2");
    // One that is known and does not verify spoils the note.
    let later = Statement {
        version: 8,
        ..statement()
    };
    let of_later = later.sign(&old);
    let line = |note: &str| note.lines().nth(5).unwrap().to_owned();
    let spoilt = both.replace(&line(&both), &line(&of_later));
    let message = says(&rolled, Some(&spoilt)).unwrap_err();
    assert!(message.contains("does not verify"), "{message}");
}

#[test]
fn without_keys_signatures_are_not_looked_at() {
    let any = Trust::default();
    assert_eq!(says(&any, Some("anything")).unwrap(), None);
    assert_eq!(says(&any, None).unwrap(), None);
    // A signature that is there has to be good, wanted or not.
    let wanted = Trust {
        required: false,
        ..trust(&[(&signer("acme", 1), None)])
    };
    assert_eq!(says(&wanted, None).unwrap(), None);
    says(&wanted, Some("anything")).unwrap_err();
}

#[test]
fn a_key_is_bound_to_its_name() {
    let text = signer("acme", 1).key().to_string();
    assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
    for wrong in [
        text.replace("acme", "acne"),
        text.replacen("+A", "+B", 1),
        text.chars().take(50).collect(),
        "acme".into(),
        String::new(),
    ] {
        assert_eq!(wrong.parse::<Key>(), Err(ParseKeyError), "{wrong}");
    }
}

/// The key of the same example.
#[test]
fn a_key_that_signs_is_written_as_others_write_it() {
    let text = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let known = Signer::parse(text).unwrap();
    assert_eq!(
        known.key().to_string(),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );
    let ours = Signer::private("acme", &[1; 32]).unwrap();
    assert_eq!(Signer::parse(&ours).unwrap().key(), signer("acme", 1).key());
    assert!(Signer::parse(&ours.replace("acme", "acne")).is_err());
    assert!(Signer::parse("PRIVATE+KEY+acme").is_err());
}

proptest! {
    #[test]
    fn no_change_of_a_byte_passes(at in 0_usize..400, byte in 0x20_u8..0x7f) {
        let acme = signer("acme", 1);
        let note = statement().sign(&acme);
        let at = at % note.len();
        let mut bytes = note.clone().into_bytes();
        bytes[at] = byte;
        let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
        let result = says(&trust(&[(&acme, None)]), Some(&changed));
        prop_assert_eq!(result.is_ok(), changed == note);
    }

    #[test]
    fn nothing_makes_it_panic(text in "\\PC*") {
        let _ = says(&trust(&[(&signer("acme", 1), None)]), Some(&text));
        let _ = text.parse::<Key>();
    }
}
