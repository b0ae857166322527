use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn digest(text: &str) -> Digest {
    format!("sha256:{text}").parse().unwrap()
}

fn leaves(size: u64) -> Vec<Digest> {
    (0..size)
        .map(|i| leaf(format!("line {i}").as_bytes()))
        .collect()
}

/// RFC 6962, 2.1, word for word.
fn naive(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [one] => *one,
        several => {
            let mut k = 1;
            while k * 2 < several.len() {
                k *= 2;
            }
            node(&naive(&several[..k]), &naive(&several[k..]))
        }
    }
}

/// The leaves and roots that Certificate Transparency's own tests have.
#[test]
fn the_known_tree_of_certificate_transparency() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Tree::default();
    assert_eq!(tree.root(), digest(roots[0]));
    for (input, root) in inputs.iter().zip(&roots[1..]) {
        tree.push(leaf(&hex(input)));
        assert_eq!(tree.root(), digest(root));
    }
    assert_eq!(tree.size(), 8);
    assert_eq!(tree.peaks(), [digest(roots[8])]);

    // Known paths of that tree: of leaf 0 of 8, of leaf 5 of 8, and from 1, 6 and 2 leaves on.
    let all: Vec<Digest> = inputs.iter().map(|input| leaf(&hex(input))).collect();
    let path = |index, size| inclusion(index, size, &mut all.as_slice()).unwrap();
    assert_eq!(
        path(0, 8),
        [
            digest("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
            digest("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
            digest("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"),
        ]
    );
    assert_eq!(
        path(5, 8),
        [
            digest("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
            digest("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            digest("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
    assert_eq!(
        consistency(6, 8, &mut all.as_slice()).unwrap(),
        [
            digest("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
            digest("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            digest("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
}

#[test]
fn every_proof_of_every_small_tree_holds_and_no_other_place_takes_it() {
    let all = leaves(34);
    for size in 1..=34 {
        let root = naive(&all[..size]);
        let mut tree = Tree::default();
        tree.extend(all[..size].iter().copied());
        assert_eq!(tree.root(), root);
        assert_eq!(
            Tree::of_peaks(size as u64, tree.peaks().to_vec()),
            Some(tree)
        );
        let n = size as u64;
        for index in 0..n {
            let proof = inclusion(index, n, &mut all.as_slice()).unwrap();
            let leaf = &all[usize::try_from(index).unwrap()];
            assert!(includes(leaf, index, n, &proof, &root), "{index} of {n}");
            for other in (0..n + 2).filter(|other| *other != index) {
                assert!(!includes(leaf, other, n, &proof, &root), "{other} of {n}");
            }
            let longer = [proof.as_slice(), &[root]].concat();
            assert!(!includes(leaf, index, n, &longer, &root));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!includes(leaf, index, n, shorter, &root));
            }
        }
        for old in 0..=n {
            let old_root = naive(&all[..usize::try_from(old).unwrap()]);
            let proof = consistency(old, n, &mut all.as_slice()).unwrap();
            assert!(extends(old, &old_root, n, &root, &proof), "{old} of {n}");
            let longer = [proof.as_slice(), &[root]].concat();
            assert!(!extends(old, &old_root, n, &root, &longer));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!extends(old, &old_root, n, &root, shorter));
            }
            if old > 0 {
                let fork = leaf(b"another history");
                assert!(!extends(old, &fork, n, &root, &proof));
                assert!(old == n || !extends(old, &old_root, n, &fork, &proof));
            }
        }
        assert!(inclusion(n, n, &mut all.as_slice()).is_err());
        assert!(consistency(n + 1, n, &mut all.as_slice()).is_err());
    }
}

#[test]
fn peaks_fit_their_size_and_the_ends_of_the_range_are_not_a_panic() {
    assert_eq!(Tree::of_peaks(3, vec![empty()]), None);
    assert_eq!(Tree::of_peaks(0, Vec::new()), Some(Tree::default()));
    assert!(Tree::of_peaks(u64::MAX, vec![empty(); 64]).is_some());
    let hash = leaf(b"");
    assert!(!includes(&hash, u64::MAX, u64::MAX, &[], &hash));
    assert!(!includes(&hash, u64::MAX - 1, u64::MAX, &[hash; 70], &hash));
    assert!(!extends(1 << 63, &hash, u64::MAX, &hash, &[hash; 70]));
    assert!(!extends(u64::MAX - 1, &hash, u64::MAX, &hash, &[hash; 70]));
    assert!(
        !extends(0, &hash, 5, &hash, &[]),
        "the empty tree has one root"
    );
    assert_eq!(divide(2), 1);
    assert_eq!(divide(3), 2);
    assert_eq!(divide(u64::MAX), 1 << 63);
}

proptest! {
    #[test]
    fn random_trees_agree_with_the_definition(size in 1_u64..300, a: prop::sample::Index, b: prop::sample::Index) {
        let all = leaves(size);
        let root = naive(&all);
        let index = a.index(all.len());
        let proof = inclusion(index as u64, size, &mut all.as_slice()).unwrap();
        prop_assert!(includes(&all[index], index as u64, size, &proof, &root));
        let old = b.index(all.len());
        let proof = consistency(old as u64, size, &mut all.as_slice()).unwrap();
        prop_assert!(extends(old as u64, &naive(&all[..old]), size, &root, &proof));
    }

    #[test]
    fn a_proof_with_one_hash_changed_shows_nothing(size in 2_u64..200, a: prop::sample::Index, which: prop::sample::Index) {
        let all = leaves(size);
        let root = naive(&all);
        let index = a.index(all.len());
        let mut proof = inclusion(index as u64, size, &mut all.as_slice()).unwrap();
        let at = which.index(proof.len());
        proof[at] = leaf(b"changed");
        prop_assert!(!includes(&all[index], index as u64, size, &proof, &root));
        let old = index as u64;
        let mut proof = consistency(old, size, &mut all.as_slice()).unwrap();
        if !proof.is_empty() {
            let at = which.index(proof.len());
            proof[at] = leaf(b"changed");
            prop_assert!(!extends(old, &naive(&all[..index]), size, &root, &proof));
        }
    }
}
