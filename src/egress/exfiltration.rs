//! Names as a way out: `<secret>.evil.example` tells its servers the secret by being looked up.
//!
//! Under a grant that spells out its host there is nothing to choose. Under a grant of any public
//! origin the plugin chooses the name, so what a name can carry is bounded. The measure is an
//! estimate of unpredictable bits, in tenths:
//!
//! - Letters that read like words: 1.5 bits each. Shannon's experiments (1951) put English at 0.6 to
//!   1.3 bits a letter; names of other languages and abbreviations get some room.
//! - Letters that don't: 4.7 bits, as of 26 letters chosen at random.
//! - Digits: 3.3 bits.
//! - Letters and digits in turn: 5 bits, as of base 32, for names have no case.
//!
//! The last two labels are not counted: they are somebody's registration, and a plugin can't have one
//! made for each secret. The others may carry fewer than 128 bits, the least that keys and tokens
//! have: so base 32 or hexadecimal of one does not fit, even when cut into labels. Ordinary names,
//! those of content networks and clouds included, do fit (the tests have a list). What does not fit
//! is a digest as a name (IPFS gateways, AWS function URLs): the operator grants these by their
//! origin. What fits is a secret spelt in words, or a few bits at a time; those meet the limits of
//! host calls, and are in the journal.

use crate::reason::{Reason, Refusal};

/// Tenths of bits that a name may carry.
const MOST: usize = 1280;
/// Labels of a name; the deepest in ordinary use have seven.
const MOST_LABELS: usize = 10;

/// The hundred pairs of letters that are most frequent in English text (after Norvig, 2012), which
/// make up three quarters of it; of random letters they make up less than a sixth.
const PAIRS: &[u8] = b"thheinerananreonatenndtiesorteofedisitalarsttontngsehaasouiolevecomedehiriroicneea\
racelichllbemasiomurcatadiehottrunactnstrelowislaelnoetilaraidasopreeecesutemicopopewhwaldviergrdusoilaiclefisp";

const WORD_LETTER: usize = 15;
const RANDOM_LETTER: usize = 47;
const DIGIT: usize = 33;
const MIXED: usize = 50;

/// Refuses a name that could carry a secret to whoever answers for it.
pub(super) fn admit_name(name: &str) -> Result<(), Refusal> {
    let labels = name.split('.').count();
    let carried = carries(name);
    if carried < MOST && labels <= MOST_LABELS {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::EgressNameEntropy,
        "the host's name is too long or too random to be looked up under an open grant",
    )
    .with_detail(format!(
        "about {} bits in {labels} labels; fewer than {} bits and at most {MOST_LABELS} labels are let through; \
         to allow it, have the requirement name this origin",
        carried / 10,
        MOST / 10,
    )))
}

/// Tenths of bits that the labels which a plugin is free to choose can carry.
fn carries(name: &str) -> usize {
    name.rsplit('.').skip(2).map(label).sum()
}

fn label(label: &str) -> usize {
    // Short runs say little of themselves, so letters are judged by the whole label.
    let letter = if reads_like_words(label.as_bytes()) {
        WORD_LETTER
    } else {
        RANDOM_LETTER
    };
    label
        .split(['-', '_'])
        .map(|text| run(text.as_bytes(), letter))
        .sum()
}

/// A run of letters and digits.
fn run(text: &[u8], letter: usize) -> usize {
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = text.len() - digits;
    let turns = text
        .array_windows()
        .filter(|[a, b]| a.is_ascii_digit() != b.is_ascii_digit())
        .count();
    // `web2024`, `360buy`, `ip4v`: a word and a number, or few enough to be read.
    if turns <= 1 || text.len() <= 4 {
        letters * letter + digits * DIGIT
    } else {
        text.len() * MIXED
    }
}

fn reads_like_words(label: &[u8]) -> bool {
    let pairs = || {
        label
            .array_windows::<2>()
            .filter(|pair| pair.iter().all(u8::is_ascii_lowercase))
    };
    let all = pairs().count();
    let common = pairs()
        .filter(|pair| PAIRS.chunks_exact(2).any(|known| known == *pair))
        .count();
    // Fewer than eight letters are too few to tell. A quarter lies between words of many languages
    // (a third and more) and random letters (a sixth and less).
    all < 7 || common * 4 >= all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_are_looked_up() {
        for name in [
            "example.com",
            "www.rust-lang.org",
            "api.github.com",
            "raw.githubusercontent.com",
            "d111111abcdef8.cloudfront.net",
            "ec2-203-0-113-25.compute-1.amazonaws.com",
            "my-bucket.s3.dualstack.eu-central-1.amazonaws.com",
            "rr5---sn-4g5e6nsz.googlevideo.com",
            "en.wikipedia.org",
            "xn--mnchen-3ya.de",
            "xn--fiqs8s.cn",
            "docs.aws.amazon.com",
            "my-project-git-feature-branch-my-team.vercel.app",
            "service-abcdefghij-uc.a.run.app",
            "llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch.co.uk",
            "abcdefghijklmnopqrst.supabase.co",
            "web.archive.org",
            "bundesverfassungsgericht.de",
            "k8s-default-ingress-1a2b3c4d5e-123456789.us-east-1.elb.amazonaws.com",
            "stackoverflow.com",
            "www.ncbi.nlm.nih.gov",
            "data.europa.eu",
            "szczebrzeszyn.pl",
            "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "gist.github.com",
        ] {
            assert!(admit_name(name).is_ok(), "{name}: {}", carries(name));
        }
    }

    #[test]
    fn s32_secrets_are_not() {
        let hex = Digest::of(b"secret").hex();
        let (half, _) = hex.split_at(32);
        let labels: Vec<_> = half
            .as_bytes()
            .chunks(8)
            .map(|c| std::str::from_utf8(c).unwrap())
            .collect();
        for name in [
            format!("{half}.evil.example"),
            format!("{}.evil.example", labels.join(".")),
            format!("{}.evil.example", labels.join("-")),
            String::from("ghp16c7e42f292c6912e7710c838347ae178b4a.evil.example"),
            String::from("mzxw6ytboi5gk3tuebuw4zzanfxgg33o.evil.example"),
            String::from("qzxkvjwpfgbmqhyzrtxcdkvlwqpz.evil.example"),
            format!("{}evil.example", "a.".repeat(9)),
        ] {
            assert_eq!(
                admit_name(&name).unwrap_err().reason,
                Reason::EgressNameEntropy,
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn sixteen_bytes_in_hexadecimal_never_pass(bytes: [u8; 16], cut in 16_usize..=32) {
            let hex = hex::encode(bytes);
            let labels: Vec<_> = hex.as_bytes().chunks(cut).map(|c| std::str::from_utf8(c).unwrap()).collect();
            // One key in a hundred has a long run of letters or digits, which reads like a word or a
            // number; the estimate is for the others.
            let turns = |label: &str| {
                label.as_bytes().windows(2).filter(|w| w[0].is_ascii_digit() != w[1].is_ascii_digit()).count()
            };
            prop_assume!(labels.iter().all(|label| label.len() < 9 || turns(label) >= 2));
            let name = format!("{}.evil.example", labels.join("."));
            prop_assert!(admit_name(&name).is_err());
        }

        #[test]
        fn never_panics(name in ".{0,300}") {
            let _ = admit_name(&name);
        }
    }
}
