//! Using up time and memory, and looking for what others left in it.

use std::hint::black_box;

use tollgate_plugin::prelude::*;

/// Never ends.
#[tool(name = "loop")]
pub(crate) fn burn() -> &'static str {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns).wrapping_add(1);
        if black_box(false) {
            return "it ended";
        }
    }
}

/// Calls itself until the stack is gone.
#[tool]
pub(crate) fn recurse() -> String {
    // Little of the guest's own stack in memory, so that it is the host's bound that is met.
    fn deeper(depth: u64) -> u64 {
        if black_box(depth) == u64::MAX {
            return 0;
        }
        deeper(depth + 1).wrapping_add(depth)
    }
    deeper(0).to_string()
}

/// Counts, then answers: a call that costs what it is told to.
#[tool(read_only)]
pub(crate) fn spin_then_answer(arguments: Units) -> String {
    let mut value = 1_u64;
    for turn in 0..arguments.units.saturating_mul(1000) {
        value = black_box(value)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(turn);
    }
    value.to_string()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Units {
    units: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mebibytes {
    mib: u32,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Grown {
    /// How much more memory there was to be had, in MiB.
    grown: u32,
    /// Whether it was less than asked for.
    refused: bool,
    /// How many of its bytes were not zero before anything wrote them.
    dirty: u64,
}

/// Takes memory, one MiB after the other, and writes into all of it.
#[tool]
pub(crate) fn grow_memory(arguments: Mebibytes) -> Json<Grown> {
    let mut grown = Grown {
        grown: 0,
        refused: false,
        dirty: 0,
    };
    for _ in 0..arguments.mib {
        let Some(fresh) = memory::grow_mebibyte() else {
            grown.refused = true;
            break;
        };
        fresh.fill(u64::MAX);
        grown.grown += 1;
    }
    Json(grown)
}

/// Fills fresh memory with a pattern and leaves it so.
#[tool]
pub(crate) fn dirty(arguments: Mebibytes) -> &'static str {
    for _ in 0..arguments.mib {
        if let Some(fresh) = memory::grow_mebibyte() {
            fresh.fill(0xdead_beef_dead_beef);
        }
    }
    "dirty"
}

/// Looks for bytes in fresh memory that are not zero.
#[tool(read_only)]
pub(crate) fn scan(arguments: Mebibytes) -> Json<Grown> {
    let mut grown = Grown {
        grown: 0,
        refused: false,
        dirty: 0,
    };
    for _ in 0..arguments.mib {
        let Some(fresh) = memory::grow_mebibyte() else {
            grown.refused = true;
            break;
        };
        grown.grown += 1;
        grown.dirty += fresh
            .iter()
            .map(|word| word.to_ne_bytes().iter().filter(|byte| **byte != 0).count() as u64)
            .sum::<u64>();
    }
    Json(grown)
}

#[cfg(target_family = "wasm")]
mod memory {
    use std::arch::wasm32::memory_grow;

    /// One MiB at the end of the memory, as it comes.
    pub(super) fn grow_mebibyte() -> Option<&'static mut [u64]> {
        const PAGES: usize = 16;
        let page = memory_grow::<0>(PAGES);
        if page == usize::MAX {
            return None;
        }
        // SAFETY: the pages from `page` on came into being with this call, and nothing else knows of them.
        Some(unsafe {
            std::slice::from_raw_parts_mut((page * 65_536) as *mut u64, PAGES * 65_536 / 8)
        })
    }
}

#[cfg(not(target_family = "wasm"))]
mod memory {
    /// There is no such memory here.
    pub(super) fn grow_mebibyte() -> Option<&'static mut [u64]> {
        None
    }
}
