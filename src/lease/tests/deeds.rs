//! Whatever happens, in any order, and whenever the host dies.

use super::*;

#[derive(Debug, Clone, Copy)]
enum Deed {
    Lend(u128, bool),
    EndCall(u128),
    EndTask,
    Down(bool),
    Lose(bool),
    /// The host dies here, and starts again.
    Die,
}

fn deed() -> impl proptest::strategy::Strategy<Value = Deed> {
    use proptest::prelude::*;
    prop_oneof![
        4 => (1_u128..4, any::<bool>()).prop_map(|(call, task)| Deed::Lend(call, task)),
        2 => (1_u128..4).prop_map(Deed::EndCall),
        1 => Just(Deed::EndTask),
        1 => any::<bool>().prop_map(Deed::Down),
        1 => any::<bool>().prop_map(Deed::Lose),
        2 => Just(Deed::Die),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(6))]
    /// Whatever happens, and whenever the host dies: once its server answers, nothing is alive.
    #[test]
    fn nothing_outlives_its_holder(
        bonds: bool,
        deeds in proptest::collection::vec(deed(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Server { bonds, ..Server::default() };
            let mut bench = Bench::new(server, per_task(), 128);
            let task = TaskId::generate(&SystemEntropy).unwrap();
            for deed in deeds {
                match deed {
                    Deed::Lend(call, on_task) => {
                        drop(bench.lend(call, on_task.then_some(task)).await);
                    }
                    Deed::EndCall(call) => drop(bench.leases.end_call(id(call))),
                    Deed::EndTask => drop(bench.leases.end_task(task)),
                    Deed::Down(is_down) => bench.server.is_down.store(is_down, Ordering::SeqCst),
                    // Only what hangs on something can be found again by it; the rest has to lapse.
                    Deed::Lose(loses) if bonds => bench.server.loses_answers.store(loses, Ordering::SeqCst),
                    Deed::Lose(_) => {}
                    Deed::Die => bench = bench.restart().await,
                }
            }
            bench.server.is_down.store(false, Ordering::SeqCst);
            let _ended = bench.leases.end_all();
            bench.settled().await;
            assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
            assert!(bench.leases.0.parts.state.open_leases().unwrap().is_empty());
        });
    }
}
