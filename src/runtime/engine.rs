//! The one engine of the process, and the clock that interrupts guests.
//!
//! Every setting that is not Wasmtime's default is argued here. The compile child uses the same
//! settings, since an artifact loads only into an engine with equal ones.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

/// How often guests that compute are interrupted, so that others get a turn and a deadline is seen.
/// A turn is short beside a reply's time, and the interruption itself costs well under 1 %.
const TICK: Duration = Duration::from_millis(2);

/// Bytes of a guest's stack: Wasmtime's own default. A deeper one only lets a runaway recursion go further.
pub(super) const STACK: usize = 512 << 10;

/// How the engine is to be set up.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Instances that may live at once.
    pub instances: usize,
    /// Entries in one table; what the pool reserves.
    pub table_entries: usize,
    /// Whether the host may have memory swapped out.
    pub swap: bool,
}

impl Settings {
    /// For `instances` live instances, on this machine.
    #[must_use]
    pub fn for_machine(instances: usize, table_entries: usize) -> Self {
        Self {
            instances,
            table_entries,
            swap: swap_in_use(),
        }
    }
}

/// Whether any swap is active. Doubt says yes.
fn swap_in_use() -> bool {
    // The first line is a heading; each further one is an active swap area.
    std::fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}

/// What decides whether an artifact fits: the part of the settings that code generation sees.
fn code_config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        // Equal inputs give equal results, bit for bit: replay needs it.
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(STACK)
        .memory_init_cow(true)
        // Data segments of plugins lie close together; a dense image maps instead of being copied.
        .memory_guaranteed_dense_image_size(64 << 20)
        // A trap says where; file and line would need the plugin's debug information parsed, which is guest bytes.
        .wasm_backtrace_max_frames(None)
        // Not needed by any supported guest language, and each has had its own advisories.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        // Saves 2-5 µs a call; no WASI 0.3 is offered.
        .concurrency_support(false);
    config
}

/// An engine that only compiles: in the compile child.
///
/// # Errors
///
/// The machine can't run the settings.
pub(super) fn for_compiling() -> wasmtime::Result<Engine> {
    let mut config = code_config();
    config.parallel_compilation(true);
    Engine::new(&config)
}

/// The engine that runs calls.
///
/// # Errors
///
/// The machine can't run the settings: no room in the address space for the pool, say.
pub(super) fn for_running(settings: Settings) -> wasmtime::Result<Engine> {
    let mut config = code_config();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let instances = settings.instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(instances))
        // A component is several core modules: the plugin's own, and the shims between it and its imports.
        .total_core_instances(count(instances.saturating_mul(8)))
        .max_core_instances_per_component(20)
        .total_memories(count(instances.saturating_mul(2)))
        .max_memories_per_component(4)
        .total_tables(count(instances.saturating_mul(4)))
        .max_tables_per_component(8)
        .table_elements(settings.table_entries)
        .total_stacks(count(instances))
        // Rotating over many plugins finds each one's slot still warm.
        .max_unused_warm_slots(count(instances));
    config.async_stack_size(1 << 20);
    if !settings.swap {
        // Resets only the pages that the last call wrote: 4 times as many calls a second as unmapping.
        let mut scanning = pool.clone();
        scanning
            .pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(4 << 20)
            .table_keep_resident(1 << 20);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(scanning));
        match Engine::new(&config) {
            Ok(engine) => return Ok(engine),
            Err(error) => tracing::info!(%error, "this kernel has no page-map scan"),
        }
    }
    // With swap the scan of 48.0.8 would miss dirty pages that were swapped out, and the next instance
    // could read them. Setting to zero sees every page.
    tracing::info!(
        swap = settings.swap,
        "resetting instance memory without the page-map scan"
    );
    pool.pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(64 << 10);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// How long ticking goes on when no guest runs any more. Waking the thread costs a call that comes soon
/// after more than these ticks cost an idle host.
const LINGER: u32 = 50;

/// Interrupts guests while any runs; sleeps while none does, and none did a moment ago.
#[derive(Debug)]
pub(super) struct Ticker {
    running: Arc<Running>,
}

#[derive(Debug, Default)]
struct Running {
    guests: Mutex<Guests>,
    some: Condvar,
}

#[derive(Debug, Default)]
struct Guests {
    count: usize,
    /// Whether the thread waits to be woken.
    asleep: bool,
}

impl Ticker {
    /// Starts the thread. It ends with the ticker.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let running = Arc::new(Running::default());
        let watched = Arc::downgrade(&running);
        let engine = engine.clone();
        std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || tick(&watched, &engine))?;
        Ok(Self { running })
    }

    /// Ticks as long as the guard lives.
    #[must_use]
    pub(super) fn guard(&self) -> TickGuard {
        let mut guests = lock(&self.running.guests);
        guests.count += 1;
        let asleep = std::mem::take(&mut guests.asleep);
        drop(guests);
        if asleep {
            self.running.some.notify_one();
        }
        TickGuard(Arc::clone(&self.running))
    }
}

fn tick(watched: &Weak<Running>, engine: &Engine) {
    let mut idle = 0;
    while let Some(running) = watched.upgrade() {
        let mut guests = lock(&running.guests);
        idle = if guests.count == 0 { idle + 1 } else { 0 };
        if idle > LINGER {
            guests.asleep = true;
            // Wakes up now and then to see whether the ticker itself is gone.
            let woken = running
                .some
                .wait_timeout_while(guests, Duration::from_secs(1), |guests| guests.asleep)
                .map_or(true, |(guests, _)| !guests.asleep);
            // The guest that it was woken for may be gone already; another mostly follows.
            idle = if woken { 0 } else { LINGER };
        } else {
            drop(guests);
            drop(running);
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, guests are interrupted.
#[derive(Debug)]
pub(super) struct TickGuard(Arc<Running>);

impl Drop for TickGuard {
    fn drop(&mut self) {
        lock(&self.0.guests).count -= 1;
    }
}
