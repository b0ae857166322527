//! jq's functions over floating-point numbers, by `libm`, so that they give the same everywhere.

use jaq_core::native::{Fun, bome, run, v};
use jaq_json::{Error, Val, ValR};
use jaq_std::ValT as _;

use crate::natives::Data;

fn float(value: &Val) -> Result<f64, Error> {
    value
        .as_f64()
        .ok_or_else(|| Error::str(format_args!("cannot use {value} as number")))
}

fn whole(value: &Val) -> Result<i32, Error> {
    value
        .as_isize()
        .and_then(|i| i32::try_from(i).ok())
        .ok_or_else(|| Error::str(format_args!("cannot use {value} as 32-bit integer")))
}

fn from_i32(value: i32) -> Val {
    // An `isize` holds every `i32` on each target that this is built for.
    Val::from(isize::try_from(value).unwrap_or_default())
}

fn pair(x: Val, y: Val) -> Val {
    [x, y].into_iter().collect()
}

macro_rules! of_input {
    ($($name:literal = $function:path),* $(,)?) => {
        [$(run::<Data>(($name, v(0), |cv| bome(float(&cv.1).map(|x| Val::from($function(x))))))),*]
    };
}

macro_rules! of_two {
    ($($name:literal = $function:path, $first:ident, $second:ident);* $(;)?) => {
        [$(run::<Data>(($name, v(2), |mut cv| {
            let second = cv.0.pop_var();
            let first = cv.0.pop_var();
            let result = || -> ValR { Ok(Val::from($function($first(&first)?, $second(&second)?))) };
            bome(result())
        }))),*]
    };
}

pub(crate) fn all() -> impl Iterator<Item = Fun<Data>> {
    let of_input = of_input! {
        "acos" = libm::acos, "acosh" = libm::acosh, "asin" = libm::asin, "asinh" = libm::asinh,
        "atan" = libm::atan, "atanh" = libm::atanh, "cbrt" = libm::cbrt, "cos" = libm::cos,
        "cosh" = libm::cosh, "erf" = libm::erf, "erfc" = libm::erfc, "exp" = libm::exp,
        "exp10" = libm::exp10, "exp2" = libm::exp2, "expm1" = libm::expm1, "fabs" = libm::fabs,
        "j0" = libm::j0, "j1" = libm::j1, "lgamma" = libm::lgamma, "log" = libm::log,
        "log10" = libm::log10, "log1p" = libm::log1p, "log2" = libm::log2, "nearbyint" = libm::rint,
        "rint" = libm::rint, "sin" = libm::sin, "sinh" = libm::sinh, "sqrt" = libm::sqrt,
        "tan" = libm::tan, "tanh" = libm::tanh, "tgamma" = libm::tgamma, "trunc" = libm::trunc,
        "y0" = libm::y0, "y1" = libm::y1,
    };
    let of_two = of_two! {
        "atan2" = libm::atan2, float, float;
        "copysign" = libm::copysign, float, float;
        "fdim" = libm::fdim, float, float;
        "fmax" = libm::fmax, float, float;
        "fmin" = libm::fmin, float, float;
        "fmod" = libm::fmod, float, float;
        "hypot" = libm::hypot, float, float;
        "jn" = libm::jn, whole, float;
        "yn" = libm::yn, whole, float;
        "ldexp" = libm::ldexp, float, whole;
        "scalbln" = libm::scalbn, float, whole;
        "nextafter" = libm::nextafter, float, float;
        "pow" = libm::pow, float, float;
        "remainder" = libm::remainder, float, float;
    };
    let others = [
        run::<Data>(("ilogb", v(0), |cv| {
            bome(float(&cv.1).map(|x| from_i32(libm::ilogb(x))))
        })),
        run::<Data>(("frexp", v(0), |cv| {
            bome(float(&cv.1).map(|x| {
                let (fraction, exponent) = libm::frexp(x);
                pair(Val::from(fraction), from_i32(exponent))
            }))
        })),
        run::<Data>(("modf", v(0), |cv| {
            bome(float(&cv.1).map(|x| {
                let (fraction, integer) = libm::modf(x);
                pair(Val::from(fraction), Val::from(integer))
            }))
        })),
        run::<Data>(("fma", v(3), |mut cv| {
            let (z, y, x) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
            let result =
                || -> ValR { Ok(Val::from(libm::fma(float(&x)?, float(&y)?, float(&z)?))) };
            bome(result())
        })),
    ];
    of_input.into_iter().chain(of_two).chain(others)
}
