use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::entropy::SeededEntropy;
use crate::home::Home;
use crate::journal::record::CallId;
use crate::limits::CallLimits;
use crate::reason::{Reason, Refusal};

/// A call of this millisecond since 1970.
fn call(millis: u64, number: u8) -> CallId {
    let mut random = [0; 10];
    random[9] = number;
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random);
    CallId(id.into_uuid())
}

fn head(call: CallId) -> Head {
    Head {
        call,
        tool: "probe.echo".into(),
        plugin: Digest::of(b"component"),
        host: "0.1.0".into(),
        engine: Digest::of(b"engine"),
        limits: Limits::of(&CallLimits::default()),
        arguments: r#"{"a":1}"#.into(),
    }
}

fn asked(function: Function, name: &'static str, text: &str) -> Asked {
    let mut fields = Fields::default();
    fields.text(name, text);
    Asked { function, fields }
}

fn recorder(call: CallId, most: usize) -> Recorder {
    Recorder::new(&head(call), most)
}

/// A tape with one host call of each end.
fn recorded(call: CallId) -> Recorder {
    let mut recorder = recorder(call, 1 << 20);
    recorder.asks(&asked(Function::HttpOpen, "name", "api"));
    recorder.answers(&Ok::<String, String>("api".into()));
    recorder.asks(&asked(
        Function::HttpSend,
        "url",
        "https://a.example/canary",
    ));
    recorder.ends(&Refusal::new(Reason::BudgetHostBytes, "too much").with_detail("detail"));
    recorder.asks(&asked(Function::Poll, "pollable", "1"));
    recorder.end(42, Err(&Refusal::new(Reason::CallCancelled, "cancelled")));
    recorder
}

fn tapes(folder: &Path) -> (Home, Tapes) {
    let home = Home::at(folder).unwrap();
    home.create().unwrap();
    let tapes = Tapes::new(&home, Arc::new(SeededEntropy::default()));
    (home, tapes)
}

const NOW: Duration = Duration::from_secs(1_795_305_600);

fn now_millis() -> u64 {
    u64::try_from(NOW.as_millis()).unwrap()
}

#[test]
fn a_tape_reads_back_as_what_was_recorded() {
    let id = call(1, 1);
    let tape = Tape::read(&recorded(id).finish().unwrap()).expect("its own form");
    assert_eq!(tape.head, head(id));
    assert_eq!(tape.steps.len(), 3);
    assert_eq!(
        tape.steps[0].asked,
        asked(Function::HttpOpen, "name", "api")
    );
    assert!(matches!(tape.steps[0].given, Given::Answer(_)));
    let Given::End(refusal) = &tape.steps[1].given else {
        panic!("{:?}", tape.steps[1]);
    };
    assert_eq!(
        (refusal.reason, refusal.message.as_ref()),
        (Reason::BudgetHostBytes, "too much")
    );
    assert_eq!(refusal.detail.as_deref(), Some("detail"));
    // The host call during which the call was cancelled.
    assert!(matches!(tape.steps[2].given, Given::Nothing));
    assert_eq!(tape.end.fuel, 42);
    assert_eq!(tape.head.limits.for_replay(), CallLimits::default());
}

#[test]
fn each_function_has_a_number_and_a_name_of_its_own() {
    for (index, one) in Function::ALL.iter().enumerate() {
        for other in &Function::ALL[index + 1..] {
            assert_ne!(*one as u8, *other as u8);
            assert_ne!(one.name(), other.name());
        }
        let mut to = Writer::default();
        let asked = asked(*one, "a", "b");
        asked.write(&mut to);
        assert_eq!(Asked::read(&mut Reader::new(to.as_bytes())), Some(asked));
    }
}

#[test]
fn what_is_long_stands_as_its_digest() {
    let mut fields = Fields::default();
    fields.text("short", "a");
    fields.text("long", &"a".repeat(2000));
    let shown: Vec<_> = fields.iter().map(|(_, value)| value.to_string()).collect();
    assert_eq!(shown[0], "a");
    assert_eq!(
        shown[1],
        format!("2000 bytes, {}", Digest::of("a".repeat(2000).as_bytes()))
    );
}

#[test]
fn a_tape_that_is_too_large_is_none_and_takes_no_memory() {
    let mut recorder = recorder(call(1, 1), 1000);
    recorder.asks(&asked(Function::RandomBytes, "length", "x"));
    recorder.answers(&vec![7_u8; 4000]);
    for _ in 0..1000 {
        recorder.asks(&asked(Function::RandomBytes, "length", "x"));
        recorder.answers(&vec![7_u8; 4000]);
    }
    recorder.end(1, Ok(Digest::of(b"")));
    assert_eq!(
        recorder.finish(),
        Err("it has more than 1000 bytes".to_owned())
    );
}

#[test]
fn what_is_given_up_stays_so() {
    let mut recorder = recorder(call(1, 1), 1 << 20);
    recorder.asks(&asked(Function::SecretReveal, "secret", "token"));
    recorder.give_up("shown");
    recorder.answers(&Ok::<String, String>("canary".into()));
    recorder.asks(&asked(Function::LogWrite, "message", "canary"));
    recorder.end(1, Ok(Digest::of(b"")));
    assert_eq!(recorder.finish(), Err("shown".to_owned()));
}

#[test]
fn a_replay_gets_the_answers_in_their_order_and_no_others() {
    let steps = || {
        let text = recorded(call(1, 1)).finish().unwrap();
        Tape::read(&text).unwrap().steps
    };
    let open = || asked(Function::HttpOpen, "name", "api");
    let send = || asked(Function::HttpSend, "url", "https://a.example/canary");

    let mut player = Player::new(steps());
    let answer: Result<String, String> = player.answer(open()).unwrap();
    assert_eq!(answer.as_deref(), Ok("api"));
    let ended = player.answer::<String>(send()).unwrap_err();
    assert_eq!(ended.reason, Reason::BudgetHostBytes);
    assert!(player.departure().is_none());
    assert_eq!((player.played(), player.rest().len()), (2, 1));

    // Another parameter, another function, another type, one more.
    let mut player = Player::new(steps());
    assert!(
        player
            .answer::<String>(asked(Function::HttpOpen, "name", "b"))
            .is_err()
    );
    assert!(matches!(
        player.departure(),
        Some(Departure::Other { number: 1, .. })
    ));
    assert!(
        player.answer::<String>(send()).is_err(),
        "it does not come back onto the tape"
    );
    let mut player = Player::new(steps());
    assert!(player.answer::<String>(send()).is_err());
    assert!(matches!(
        player.departure(),
        Some(Departure::Other { number: 1, .. })
    ));
    let mut player = Player::new(steps());
    assert!(player.answer::<u64>(open()).is_err());
    assert!(matches!(
        player.departure(),
        Some(Departure::Unreadable { number: 1, .. })
    ));
    let mut player = Player::new(Vec::new());
    assert!(player.answer::<u64>(open()).is_err());
    assert!(matches!(
        player.departure(),
        Some(Departure::Further { number: 1, .. })
    ));
}

#[test]
fn what_is_kept_is_sealed_private_and_opens_to_its_digest_alone() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (home, tapes) = tapes(folder.path());
    let id = call(now_millis(), 1);
    let digest = tapes.keep(recorded(id), &Settings::default(), NOW).unwrap();
    let path = home.tapes().join(format!("{id}.tape"));
    let file = std::fs::read(&path).unwrap();
    assert_eq!(Digest::of(&file), digest);
    assert!(
        !file.windows(6).any(|window| window == b"canary"),
        "in the clear"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(tapes.read(id, digest).unwrap().steps.len(), 3);

    // Any byte.
    for place in 0..file.len() {
        let mut changed = file.clone();
        changed[place] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let error = tapes.read(id, digest).unwrap_err();
        assert!(matches!(error, TapeError::Other { .. }), "{place}: {error}");
        // Also where the record's digest was changed with it: the seal does not fit.
        let error = tapes.read(id, Digest::of(&changed)).unwrap_err();
        assert!(
            error.is_tampered() || matches!(error, TapeError::Version { .. }),
            "{place}: {error}"
        );
    }
    for length in [0, 10, 16, 32, 56, file.len() - 1] {
        std::fs::write(&path, &file[..length]).unwrap();
        let error = tapes.read(id, Digest::of(&file[..length])).unwrap_err();
        assert!(error.is_tampered(), "{length}: {error}");
    }
    // One tape in the place of another.
    let other = call(now_millis(), 2);
    tapes
        .keep(recorded(other), &Settings::default(), NOW)
        .unwrap();
    std::fs::copy(home.tapes().join(format!("{other}.tape")), &path).unwrap();
    let swapped = Digest::of(&std::fs::read(&path).unwrap());
    let error = tapes.read(id, swapped).unwrap_err().to_string();
    assert!(error.ends_with("it is the tape of another call"), "{error}");
    // Another key.
    std::fs::write(&path, &file).unwrap();
    crate::private::replace(&home.tapes_key(), &[9; 32]).unwrap();
    let error = tapes.read(id, digest).unwrap_err().to_string();
    assert!(error.contains("its seal does not fit"), "{error}");
    std::fs::remove_file(home.tapes_key()).unwrap();
    assert!(matches!(tapes.read(id, digest), Err(TapeError::NoKey(_))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(tapes.read(id, digest), Err(TapeError::Missing(_))));
}

#[test]
fn the_oldest_make_room_and_what_is_too_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (home, tapes) = tapes(folder.path());
    let one = recorded(call(now_millis(), 0)).finish().unwrap().len() as u64 + 72;
    let settings = Settings {
        space: 3 * one,
        ..Settings::default()
    };
    let there = || {
        let mut names: Vec<_> = std::fs::read_dir(home.tapes())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let name = |number: u8| format!("{}.tape", call(now_millis() + u64::from(number), number));
    for number in 1..=5 {
        let id = call(now_millis() + u64::from(number), number);
        tapes.keep(recorded(id), &settings, NOW).unwrap();
    }
    assert_eq!(there(), [name(3), name(4), name(5)]);
    // After a start as well: another one finds what is there, and clears up.
    let half = home.tapes().join(format!("{}.new", call(1, 9)));
    std::fs::write(&half, b"half").unwrap();
    let again = Tapes::new(&home, Arc::new(SeededEntropy::default()));
    again.prune(
        &Settings {
            space: 2 * one,
            ..settings
        },
        NOW,
    );
    assert_eq!(there(), [name(4), name(5)]);
    again.prune(&settings, NOW + settings.keep);
    assert_eq!(there(), [name(4), name(5)]);
    again.prune(&settings, NOW + settings.keep + Duration::from_secs(1));
    assert!(there().is_empty());
    // What has no room at all is not kept, and leaves nothing.
    let tiny = Settings {
        space: 10,
        ..settings
    };
    let error = again.keep(recorded(call(now_millis(), 1)), &tiny, NOW);
    assert_eq!(error, Err("it has more than 10 bytes".to_owned()));
    assert!(there().is_empty());
    // Nor does it take the place of others.
    let small = call(now_millis(), 1);
    again.keep(recorded(small), &settings, NOW).unwrap();
    let mut large = recorder(call(now_millis() + 1, 2), 1 << 20);
    large.asks(&asked(Function::HttpSend, "url", "https://a.example/"));
    large.answers(&vec![7_u8; 10_000]);
    large.end(1, Ok(Digest::of(b"")));
    again.keep(large, &settings, NOW).unwrap_err();
    assert_eq!(there(), [format!("{small}.tape")]);
}

#[test]
fn calls_that_end_at_once_have_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let (_home, tapes) = tapes(folder.path());
    let all = std::sync::Barrier::new(8);
    let kept: Vec<_> = std::thread::scope(|scope| {
        let one = |number: u8| {
            let (tapes, all) = (&tapes, &all);
            scope.spawn(move || {
                let id = call(now_millis(), number);
                all.wait();
                (id, tapes.keep(recorded(id), &Settings::default(), NOW))
            })
        };
        let threads: Vec<_> = (1..=8).map(one).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (id, digest) in kept {
        assert_eq!(tapes.read(id, digest.unwrap()).unwrap().steps.len(), 3);
    }
}

/// A tape of format 1, as the host that first had it wrote it: whatever comes later reads it.
const GOLDEN: &[u8] = include_bytes!("../../tests/formats/tape-1.tape");

#[test]
pub(crate) fn a_tape_of_each_earlier_format_opens_and_a_later_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (home, tapes) = tapes(folder.path());
    let id = call(1_795_305_600_000, 7);
    crate::private::make_folder(&home.tapes()).unwrap();
    crate::private::replace(&home.tapes_key(), &[7; 32]).unwrap();
    let path = home.tapes().join(format!("{id}.tape"));
    crate::private::replace(&path, GOLDEN).unwrap();
    let tape = tapes.read(id, Digest::of(GOLDEN)).unwrap();
    assert_eq!(tape.head, head(id));
    assert_eq!((tape.steps.len(), tape.end.fuel), (3, 42));
    assert_eq!(
        tape.steps[1].asked,
        asked(Function::HttpSend, "url", "https://a.example/canary")
    );
    // And this host writes the same, byte for byte, but for the nonce.
    assert_eq!(
        GOLDEN.len(),
        recorded(id).finish().unwrap().len() + 16 + 16 + 24 + 16
    );

    for (from, to, found) in [
        (b"tape 1\n".as_slice(), b"tape 2\n".as_slice(), 2),
        (b"tape 1\n", b"tape 10\n", 10),
        (b"tape 1\n", b"tape 0\n", 0),
    ] {
        let at = GOLDEN
            .windows(from.len())
            .position(|window| window == from)
            .unwrap();
        let later = [&GOLDEN[..at], to, &GOLDEN[at + from.len()..]].concat();
        crate::private::replace(&path, &later).unwrap();
        let error = tapes.read(id, Digest::of(&later)).unwrap_err();
        assert!(
            matches!(error, TapeError::Version { found: of, .. } if of == found),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn numbers_have_one_form(number: u64) {
        let mut to = Writer::default();
        to.number(number);
        let mut from = Reader::new(to.as_bytes());
        prop_assert_eq!(from.number(), Some(number));
        prop_assert!(from.is_over());
    }

    #[test]
    fn values_read_back(
        texts: Vec<(String, String)>, numbers: Vec<u32>, one: Option<u64>, bytes: Vec<u8>, flag: bool,
    ) {
        let value = ((texts, numbers), ((one, bytes), flag));
        let mut to = Writer::default();
        value.write(&mut to);
        let mut from = Reader::new(to.as_bytes());
        prop_assert_eq!(Taped::read(&mut from), Some(value));
        prop_assert!(from.is_over());
    }

    #[test]
    fn anything_at_all_is_read_without_harm(bytes: Vec<u8>) {
        let _ = Tape::read(&bytes);
        let _ = Step::read(&mut Reader::new(&bytes));
        let _ = Option::<Vec<(String, String)>>::read(&mut Reader::new(&bytes));
    }

    #[test]
    fn a_tape_that_was_cut_or_changed_is_none_or_another(place in 0_usize..400, with in 1_u8..=255) {
        let text = recorded(call(1, 1)).finish().unwrap();
        prop_assert!(Tape::read(&text[..place.min(text.len() - 1)]).is_none());
        let mut changed = text.clone();
        let at = place % changed.len();
        changed[at] ^= with;
        if let Some(tape) = Tape::read(&changed) {
            let mut again = Writer::default();
            tape.head.write(&mut again);
            for step in &tape.steps {
                again.byte(1);
                step.write(&mut again);
            }
            again.byte(0);
            tape.end.write(&mut again);
            prop_assert_eq!(again.into_bytes(), changed, "one form only");
        }
    }
}
