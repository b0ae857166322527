use proptest::prelude::*;

use super::*;
use crate::entropy::SeededEntropy;
use crate::journal::merkle;

const ORIGIN: &str = "host.example/tollgate/0123456789abcdef";

fn signer(seed: u8) -> Signer {
    Signer::from_bytes(ORIGIN, &[seed; 32]).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size,
        root: merkle::leaf(&size.to_be_bytes()),
    }
}

fn note(text: &str) -> Note {
    Note::parse(text.as_bytes()).unwrap()
}

/// The example of C2SP signed-note.
#[test]
fn the_example_of_the_specification_verifies() {
    let key: VerifierKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
        .parse()
        .unwrap();
    let text = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let example = note(text);
    assert_eq!(example.to_string(), text);
    let keys = [key];
    assert_eq!(example.signed_by(&keys, Kind::Log).unwrap().len(), 1);
    assert_eq!(
        example.verify(&keys),
        Err(NoteError::Checkpoint(
            "origin, size and root are three lines"
        ))
    );
    let changed = note(&text.replace("example message", "example massage"));
    assert_eq!(
        changed.verify(&keys),
        Err(NoteError::Bad("example.com/foo".into()))
    );
}

#[test]
fn the_checkpoint_of_the_specification_is_read_and_written_alike() {
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint = Checkpoint::parse(text).unwrap();
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(checkpoint.text(), text);
    let wrong = [
        text.trim_end().to_owned(),
        text.replace("20852163", "020852163"),
        text.replace("20852163", "+20852163"),
        text.replace("20852163", ""),
        text.replace("20852163", "18446744073709551616"),
        text.replace("q2I=", "q2J="),
        text.replace("q2I=", "q2I"),
        text.replace("CsUY", "CsU"),
        text.replace("example.com/behind-the-sofa", ""),
        format!("{text}extension\n"),
        format!("{text}\n"),
        text.replace('\n', "\r\n"),
    ];
    for wrong in wrong {
        assert!(Checkpoint::parse(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_is_signed_is_read_back_and_a_private_key_is_shown_by_nothing() {
    let entropy = SeededEntropy::default();
    let signer = Signer::generate(ORIGIN, &entropy).unwrap();
    let signed = signer.sign(&checkpoint(7));
    let key: VerifierKey = signer.verifier().to_string().parse().unwrap();
    assert_eq!(&key, signer.verifier());
    assert_eq!(note(&signed).verify(&[key]), Ok(checkpoint(7)));
    let again = Signer::from_bytes(ORIGIN, &signer.to_bytes()).unwrap();
    assert_eq!(again.sign(&checkpoint(7)), signed);
    let shown = format!("{signer:?}");
    assert!(!shown.contains(&hex::encode(*signer.to_bytes())), "{shown}");
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
        assert!(Signer::generate(name, &entropy).is_err(), "{name:?}");
    }
}

/// L10: wrong origin, another key, an unknown id, too many signatures.
#[test]
fn signatures_are_not_taken_one_for_another() {
    let (mine, other) = (signer(1), signer(2));
    let keys = [mine.verifier().clone()];
    let good = mine.sign(&checkpoint(3));
    let (text, line) = good.rsplit_once("\n\n").unwrap();

    // Another key of the same name: it is not known, and its signature is nothing.
    let foreign = other.sign(&checkpoint(3));
    assert_eq!(
        note(&foreign).verify(&keys),
        Err(NoteError::Unsigned(format!("a known key of `{ORIGIN}`")))
    );
    let foreign_line = foreign.rsplit_once("\n\n").unwrap().1;
    let both = note(&format!("{text}\n\n{foreign_line}{line}"));
    assert_eq!(both.verify(&keys), Ok(checkpoint(3)));

    // The known key's name and id on another's signature reject the note, whoever else signed it.
    let forged = Signature {
        id: Signature::parse(line.trim_end()).unwrap().id,
        ..Signature::parse(foreign_line.trim_end()).unwrap()
    };
    let mixed = note(&format!("{text}\n\n{line}{forged}"));
    assert_eq!(mixed.verify(&keys), Err(NoteError::Bad(ORIGIN.into())));

    // Another log's checkpoint, signed with this log's key.
    let elsewhere = Checkpoint {
        origin: "host.example/tollgate/another".into(),
        ..checkpoint(3)
    };
    assert_eq!(
        note(&mine.sign(&elsewhere)).verify(&keys),
        Err(NoteError::Origin {
            found: elsewhere.origin,
            wanted: ORIGIN.into(),
        })
    );

    // Sixteen signatures are fine, a thousand are not looked at.
    let others: String = (10..25)
        .map(|seed| {
            let signed = signer(seed).sign(&checkpoint(3));
            signed.rsplit_once("\n\n").unwrap().1.to_owned()
        })
        .collect();
    let sixteen = note(&format!("{text}\n\n{others}{line}"));
    assert_eq!(sixteen.verify(&keys), Ok(checkpoint(3)));
    let thousand = format!("{text}\n\n{}", line.repeat(1000));
    assert_eq!(
        Note::parse(thousand.as_bytes()),
        Err(NoteError::TooMany(1000))
    );
}

#[test]
fn a_witness_adds_its_word_and_never_stands_in_for_the_log() {
    let log = signer(1);
    let witness = Signer::witness("witness.example/w1", &[9; 32]);
    let keys = [log.verifier().clone(), witness.verifier().clone()];
    let mut signed = note(&log.sign(&checkpoint(3)));
    let line = witness.cosign(signed.text(), 1_790_000_000);
    assert_eq!(signed.add(&line, &keys), Ok(1));
    assert_eq!(signed.add(&line, &keys), Ok(0), "it is there already");
    let said = signed.cosignatures(&keys).unwrap();
    assert_eq!(
        said,
        [Cosignature {
            name: "witness.example/w1".into(),
            time: 1_790_000_000
        }]
    );
    assert_eq!(signed.verify(&keys), Ok(checkpoint(3)));
    assert_eq!(note(&signed.to_string()), signed);

    // A witness alone says nothing of who wrote the log.
    let alone = note(&format!("{}\n{line}", checkpoint(3).text()));
    assert!(matches!(alone.verify(&keys), Err(NoteError::Unsigned(_))));

    // One that is not known is left out; one that signed something else rejects the answer.
    let stranger = Signer::witness("witness.example/w2", &[8; 32]);
    let mut signed = note(&log.sign(&checkpoint(3)));
    let strange = stranger.cosign(signed.text(), 1);
    assert_eq!(signed.add(&strange, &keys), Ok(0));
    let other = witness.cosign(&checkpoint(4).text(), 1);
    assert_eq!(
        signed.add(&other, &keys),
        Err(NoteError::Bad("witness.example/w1".into()))
    );
    assert!(signed.add("", &keys).is_err());
    assert!(signed.add("no signature\n", &keys).is_err());
    let smuggled = format!("{strange}\n{line}");
    assert!(signed.add(&smuggled, &keys).is_err());
}

#[test]
fn a_verifier_key_has_one_spelling() {
    let good = signer(1).verifier().to_string();
    assert!(good.parse::<VerifierKey>().is_ok());
    let (name, rest) = good.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    // The point of order 1, and the same with a number that is not reduced.
    let weak = |bytes: [u8; 32]| STANDARD.encode([[1].as_slice(), &bytes].concat());
    let mut one = [0; 32];
    one[0] = 1;
    let mut unreduced = [0xff; 32];
    unreduced[0] = 0xee;
    unreduced[31] = 0x7f;
    let wrong = [
        String::new(),
        name.to_owned(),
        format!("{name}+{id}"),
        format!("{name}+{}+{key}", id.to_uppercase() + "0"),
        format!("{name}x+{id}+{key}"),
        format!("na me+{id}+{key}"),
        format!("{name}+00000000+{key}"),
        format!("{name}+{id}+{}", STANDARD.encode([6; 33])),
        format!("{name}+{id}+{}", STANDARD.encode([1; 30])),
        format!("{name}+{id}+{}", weak(one)),
        format!("{name}+{id}+{}", weak(unreduced)),
        format!("{good}\n"),
    ];
    for wrong in wrong {
        assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_accepted_as_a_note_is_written_as_it_came(text in "(\u{2014} |[a-z=+/ ]|\n|\n\n|AAAAAAA=|\\PC){0,40}") {
        if let Ok(note) = Note::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn a_changed_byte_of_a_signed_note_is_noticed(at: prop::sample::Index, flip in 1_u8..=255) {
        let signer = signer(1);
        let mut bytes = signer.sign(&checkpoint(12)).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let read = Note::parse(&bytes).and_then(|note| note.verify(&[signer.verifier().clone()]));
        prop_assert!(read.is_err());
    }
}
