//! The baseline: Wasmtime alone, with the engine's settings of the host, an empty store, and no
//! policy, limits, journal or checks around the call.

use std::path::Path;

use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store,
};

use self::generated::PluginPre;
use self::generated::exports::tollgate::plugin::tools::{Invocation, Outcome};

#[allow(
    clippy::all,
    clippy::pedantic,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
mod generated {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "plugin",
        exports: { default: async },
    });
}

/// The settings of `src/runtime/engine.rs`. That the host's artifacts load here shows that those
/// which change the code are the same.
pub(crate) fn engine() -> Engine {
    const INSTANCES: u32 = 128 + 4;
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(512 << 10)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(64 << 20)
        .wasm_backtrace_max_frames(None)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .concurrency_support(false)
        .async_stack_size(1 << 20);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 8)
        .max_core_instances_per_component(20)
        .total_memories(INSTANCES * 2)
        .max_memories_per_component(4)
        .total_tables(INSTANCES * 4)
        .max_tables_per_component(8)
        .table_elements(tollgate::limits::POOLED_TABLE_ENTRIES)
        .total_stacks(INSTANCES)
        .max_unused_warm_slots(INSTANCES);
    let swap = std::fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1);
    if !swap {
        let mut scanning = pool.clone();
        scanning
            .pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(4 << 20)
            .table_keep_resident(1 << 20);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(scanning));
        if let Ok(engine) = Engine::new(&config) {
            return engine;
        }
    }
    pool.pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(64 << 10);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).unwrap()
}

/// A component, linked; its imports are there and trap.
pub(crate) struct Bare {
    engine: Engine,
    pre: PluginPre<()>,
}

impl Bare {
    /// Compiles a component.
    pub(crate) fn compile(engine: &Engine, path: &str) -> Self {
        Self::link(engine, &Component::from_file(engine, path).unwrap())
    }

    /// Takes compiled code as the host keeps it: with a MAC of 32 bytes at its end.
    pub(crate) fn load(engine: &Engine, artifact: &Path) -> Self {
        let bytes = std::fs::read(artifact).unwrap();
        let (code, _mac) = bytes.split_at(bytes.len() - 32);
        // SAFETY: a host of this run wrote the file into a folder that only this user can enter.
        let component = unsafe { Component::deserialize(engine, code) }.unwrap();
        Self::link(engine, &component)
    }

    fn link(engine: &Engine, component: &Component) -> Self {
        let mut linker = Linker::new(engine);
        linker.define_unknown_imports_as_traps(component).unwrap();
        let pre = linker
            .instantiate_pre(component)
            .and_then(PluginPre::new)
            .unwrap();
        Self {
            engine: engine.clone(),
            pre,
        }
    }

    /// A fresh instance, one call, and the end of it.
    pub(crate) async fn call(&self, tool: &str, arguments: &str) -> Outcome {
        let invocation = Invocation {
            tool: tool.to_owned(),
            arguments: arguments.to_owned(),
            answers: Vec::new(),
            state: None,
        };
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(u64::MAX).unwrap();
        store.set_epoch_deadline(u64::MAX);
        let plugin = self.pre.instantiate_async(&mut store).await.unwrap();
        plugin
            .tollgate_plugin_tools()
            .call_call(&mut store, &invocation)
            .await
            .unwrap()
            .unwrap()
    }
}

/// The one artifact in a home's folder whose code is of the component at `path`.
pub(crate) fn artifact(home: &Path, component: &[u8]) -> std::path::PathBuf {
    let digest = tollgate::digest::Digest::of(component).hex();
    std::fs::read_dir(home.join("state/artifacts"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            // Beside it is what the component said of itself.
            name.starts_with(&digest) && name.ends_with(".cwasm")
        })
        .unwrap()
}
