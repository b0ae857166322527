use proptest::prelude::*;

use super::*;
use crate::journal::note::Signer;

const ORIGIN: &str = "host.example/tollgate/0123456789abcdef";

fn leaves(size: u64) -> Vec<Digest> {
    (0..size)
        .map(|i| merkle::leaf(format!("{{\"seq\":{}}}", i + 1).as_bytes()))
        .collect()
}

fn proof(index: u64, size: u64) -> (Proof, VerifierKey) {
    let all = leaves(size);
    let mut tree = merkle::Tree::default();
    tree.extend(all.iter().copied());
    let signer = Signer::from_bytes(ORIGIN, &[3; 32]).unwrap();
    let note = signer.sign(&Checkpoint {
        origin: ORIGIN.into(),
        size,
        root: tree.root(),
    });
    let proof = Proof {
        extra: Some(format!("{{\"seq\":{}}}", index + 1).into_bytes()),
        index,
        hashes: merkle::inclusion(index, size, &mut all.as_slice()).unwrap(),
        note: Note::parse(note.as_bytes()).unwrap(),
    };
    (proof, signer.verifier().clone())
}

#[test]
fn a_proof_looks_as_the_specification_has_it() {
    let (proof, key) = proof(4, 7);
    insta::assert_snapshot!(proof.to_string(), @"
    c2sp.org/tlog-proof@v1
    extra eyJzZXEiOjV9
    index 4
    tUBokgpLYoMn/Ez8vlghCn13dKxFd1KoWciBoLoxkoc=
    rD/oH6fhllK48botRvGUdq99M+VbzFLn9ssxFZsEZsY=
    qrX8BdTrGLQIMYj6Ppfmwe7D3xNN1k1Xc+5AnhARH/Y=

    host.example/tollgate/0123456789abcdef
    7
    cunxoRv0e6r1s4sHTQn7bqIqw18S/aceoJGgM8+wKuM=

    — host.example/tollgate/0123456789abcdef ngKtkBvKaYTDczjzGQal3sX6NkzzBAzh7Ybt4/apeYpVgYMAwDJPIm4gMqJOTzcVDvqLJ/mO5EH3uLziS6BzVpKgAAQ=
    ");
    insta::assert_snapshot!(key.to_string(), @"host.example/tollgate/0123456789abcdef+9e02ad90+Ae1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR");
}

#[test]
fn other_spellings_are_refused() {
    let (proof, _) = proof(4, 7);
    let good = proof.to_string();
    assert_eq!(Proof::parse(&good), Ok(proof));
    let wrong = [
        good.replace("@v1", "@v2"),
        good.replace("index 4", "index 04"),
        good.replace("index 4", "index -4"),
        good.replace("index 4\n", ""),
        good.replace("extra ", "extra  "),
        good.replace("\n\n", "\n"),
        good.replace("\nindex", "\r\nindex"),
        good.replacen('=', "", 1),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        String::new(),
    ];
    for wrong in wrong {
        assert!(Proof::parse(&wrong).is_err(), "{wrong}");
    }
    let hash = STANDARD.encode([7; 32]);
    let long = good.replace(
        "index 4\n",
        &format!("index 4\n{}", format!("{hash}\n").repeat(70)),
    );
    assert!(matches!(Proof::parse(&long), Err(ProofError::Form(_))));
}

proptest! {
    #[test]
    fn a_proof_holds_for_its_record_at_its_place_alone(size in 1_u64..80, index: prop::sample::Index, other: prop::sample::Index) {
        let all = leaves(size);
        let (index, other) = (index.index(all.len()), other.index(all.len()));
        let (mut proof, key) = proof(index as u64, size);
        let keys = [key];
        let read = Proof::parse(&proof.to_string()).unwrap();
        prop_assert_eq!(&read, &proof);
        let checkpoint = read.shows(&all[index], &keys).unwrap();
        prop_assert_eq!(checkpoint.size, size);
        if other != index {
            prop_assert_eq!(
                read.shows(&all[other], &keys),
                Err(ProofError::Elsewhere(index as u64 + 1))
            );
            proof.index = other as u64;
            prop_assert!(proof.shows(&all[index], &keys).is_err());
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise(text in "(c2sp.org/tlog-proof@v1\n)?(extra |index |[0-9A-Za-z+/=]{0,44}|\n|\n\n|\u{2014} |\\PC){0,24}") {
        if let Ok(proof) = Proof::parse(&text) {
            prop_assert_eq!(proof.to_string(), text);
        }
    }
}
