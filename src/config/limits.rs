//! Settings of the limits: each may be left out, and what is written lies within bounds.
//!
//! A bound is not a recommendation. Below the least nothing can run; above the most the limit would
//! protect nothing, or the host could not keep it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::quantity::{Counted, Quantity, Unit};
use crate::approval::Settings as Approvals;
use crate::job::Settings as Jobs;
use crate::json::Limits as JsonLimits;
use crate::limits::{CallLimits, Concurrency, DescribeLimits, HttpLimits, Rate};
use crate::tape::{LARGEST, Settings as Tapes};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

/// A key that must be one of a table's, so that the fault is found at the key.
struct Key(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let key = String::deserialize(deserializer)?;
        if self.0.contains(&key.as_str()) {
            Ok(key)
        } else {
            Err(D::Error::unknown_field(&key, self.0))
        }
    }
}

/// A table of quantities, and of further tables, that goes over a struct of limits.
macro_rules! limits_table {
    (
        $(#[$doc:meta])* $table:ident for $limits:ident {
            $($field:ident: $unit:ident, $least:expr, $most:expr;)*
        }
        with { $($inner:ident: $inner_table:ident;)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(super) struct $table {
            $($field: Option<u64>,)*
            $($inner: $inner_table,)*
        }

        impl $table {
            const KEYS: &'static [&'static str] =
                &[$(stringify!($field),)* $(stringify!($inner),)*];

            /// Puts what is set here in the place of what `limits` has.
            pub(super) fn apply(&self, limits: &mut $limits) {
                // Named one by one: a limit that can't be set does not compile.
                let $limits { $($field,)* $($inner,)* } = limits;
                $(if let Some(value) = self.$field {
                    *$field = Counted::counted(value);
                })*
                $(self.$inner.apply($inner);)*
            }
        }

        impl<'de> Deserialize<'de> for $table {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Table;

                impl<'de> Visitor<'de> for Table {
                    type Value = $table;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a table of limits")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$table, A::Error> {
                        let mut table = $table::default();
                        while let Some(key) = map.next_key_seed(Key($table::KEYS))? {
                            match key.as_str() {
                                $(stringify!($field) => {
                                    table.$field = Some(map.next_value_seed(Quantity {
                                        name: stringify!($field),
                                        unit: Unit::$unit,
                                        least: $least,
                                        most: $most,
                                    })?);
                                })*
                                $(stringify!($inner) => {
                                    table.$inner = map.next_value_seed(PhantomData)?;
                                })*
                                other => return Err(A::Error::unknown_field(other, $table::KEYS)),
                            }
                        }
                        Ok(table)
                    }
                }

                deserializer.deserialize_map(Table)
            }
        }
    };
}

limits_table! {
    /// `[limits]`, `[plugin.<name>.limits]`, `[plugin.<name>.tool.<tool>.limits]`.
    CallTable for CallLimits {
        fuel: Count, 10_000, 10_000_000_000_000;
        time: Time, 10, HOUR;
        job_time: Time, 10, 24 * HOUR;
        // The whole of a 32-bit memory.
        memory: Bytes, MIB, 4 * GIB;
        table_entries: Count, 100, 10_000_000;
        handles: Count, 8, 1_000_000;
        host_calls: Count, 1, 100_000_000;
        host_bytes: Bytes, KIB, 64 * GIB;
        host_call_bytes: Bytes, KIB, GIB;
        refusals: Count, 1, 10_000;
        output: Bytes, KIB, 64 * MIB;
        log_bytes: Bytes, KIB, 16 * MIB;
        failures: Count, 1, 1_000_000;
        pause: Time, 10, HOUR;
    }
    with {
        arguments: ArgumentsTable;
        http: HttpTable;
    }
}

limits_table! {
    /// `[limits.arguments]`.
    ArgumentsTable for JsonLimits {
        bytes: Bytes, 64, 64 * MIB;
        // Each level is a level of the host's own stack.
        depth: Count, 1, 128;
        nodes: Count, 1, 10_000_000;
    }
    with {}
}

limits_table! {
    /// `[limits.http]`.
    HttpTable for HttpLimits {
        request_body: Bytes, 1, GIB;
        response_body: Bytes, 1, GIB;
        // Beyond 32,768 a header map panics (RUSTSEC-2026-0021).
        header_fields: Count, 1, 1_000;
        header_bytes: Bytes, KIB, MIB;
        connect: Time, 10, 60 * SECOND;
        first_byte: Time, 10, HOUR;
        idle: Time, 10, HOUR;
        total: Time, 10, HOUR;
    }
    with {}
}

limits_table! {
    /// `[describe]`, `[plugin.<name>.describe]`.
    DescribeTable for DescribeLimits {
        fuel: Count, 10_000, 10_000_000_000_000;
        time: Time, 10, HOUR;
    }
    with {}
}

limits_table! {
    /// `[concurrency]`.
    ConcurrencyTable for Concurrency {
        plugin: Count, 1, MOST_CALLS;
        agent: Count, 1, MOST_CALLS;
        host: Count, 1, MOST_CALLS;
        wait: Time, 1, 60 * SECOND;
    }
    with {}
}

limits_table! {
    /// `[rate]`.
    RateTable for Rate {
        per_second: Count, 1, 1_000_000;
        burst: Count, 1, 10_000_000;
    }
    with {}
}

limits_table! {
    /// `[approvals]`.
    ApprovalsTable for Approvals {
        ttl: Time, SECOND, 7 * 24 * HOUR;
        // Connections and clients rarely last longer.
        wait: Time, 0, HOUR;
        park: Time, 0, HOUR;
        per_minute: Count, 1, 10_000;
    }
    with {}
}

limits_table! {
    /// `[jobs]`.
    JobsTable for Jobs {
        agent: Count, 1, MOST_CALLS;
        host: Count, 1, MOST_CALLS;
        // Shorter than a client takes to ask once is no use; a week is a queue, which this is not.
        ttl: Time, 10 * SECOND, 7 * 24 * HOUR;
        space: Bytes, MIB, 64 * GIB;
    }
    with {}
}

limits_table! {
    /// `[tapes]`.
    TapesTable for Tapes {
        call: Bytes, 4 * KIB, LARGEST;
        space: Bytes, MIB, 1024 * GIB;
        keep: Time, 60 * SECOND, 366 * 24 * HOUR;
    }
    with {}
}

/// Each place reserves 4 GiB of address space and more; 4,096 take an eighth of what there is.
pub(super) const MOST_CALLS: u64 = 4_096;
