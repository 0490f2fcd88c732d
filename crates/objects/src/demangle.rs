//! Names as their language writes them.

/// Longer names are not demangled: what they stand for may be much longer still.
const LONGEST: usize = 1 << 14;
/// Longer than this no name is shown.
const LONGEST_SHOWN: usize = 1 << 16;

/// The name as its language writes it; names of no known language stay as they are.
pub fn demangle(raw: &str) -> String {
    let (name, suffix) = raw.strip_suffix("@plt").map_or((raw, ""), |name| (name, "@plt"));
    if name.len() > LONGEST {
        return raw.to_owned();
    }
    if name.starts_with("_R") || name.starts_with("_ZN") {
        if let Ok(rust) = rustc_demangle::try_demangle(name) {
            let mut shown = Bounded(String::new());
            if std::fmt::Write::write_fmt(&mut shown, format_args!("{rust:#}{suffix}")).is_ok() {
                return shown.0;
            }
            return raw.to_owned();
        }
    }
    if name.starts_with("_Z") {
        let options = cpp_demangle::DemangleOptions::new().no_return_type();
        if let Ok(symbol) = cpp_demangle::Symbol::new(name) {
            let mut shown = Bounded(String::new());
            if symbol.structured_demangle(&mut shown, &options).is_ok() {
                return shown.0 + suffix;
            }
        }
    }
    raw.to_owned()
}

/// Text that refuses to become too long: a few hundred bytes of a mangled name may stand for gigabytes.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > LONGEST_SHOWN {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Where the parameters of a C++ function begin in its name as shown; its length if it has none.
pub fn parameters_at(shown: &str) -> usize {
    let plain = shown.trim_end_matches(" const").trim_end_matches(" volatile");
    if !plain.ends_with(')') {
        return shown.len();
    }
    let mut depth = 0usize;
    for (at, byte) in plain.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return if at == 0 { shown.len() } else { at };
                }
            }
            _ => {}
        }
    }
    shown.len()
}

/// Whether a name that a user types means a name as shown: the same name, or the same without parameters, without
/// template arguments of the last component, or without leading namespaces and classes.
pub fn is_meant(shown: &str, typed: &str) -> bool {
    if shown == typed {
        return true;
    }
    let without = shown.get(..parameters_at(shown)).unwrap_or(shown);
    [shown, without, without_arguments(without)].into_iter().any(|name| {
        name == typed
            || name.strip_suffix(typed).is_some_and(|before| before.ends_with("::") && is_scope(before))
    })
}

/// `a::f` of `a::f<int>`.
fn without_arguments(name: &str) -> &str {
    if !name.ends_with('>') || name.contains("operator") {
        return name;
    }
    let mut depth = 0usize;
    for (at, byte) in name.bytes().enumerate().rev() {
        match byte {
            b'>' => depth += 1,
            b'<' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return name.get(..at).unwrap_or(name);
                }
            }
            _ => {}
        }
    }
    name
}

/// Whether what stands before a name is a whole scope: its brackets are closed.
fn is_scope(before: &str) -> bool {
    let mut depth = 0i64;
    for byte in before.bytes() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' | b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_languages_are_written_as_these_write_them() {
        assert_eq!(demangle("main"), "main");
        assert_eq!(demangle("_ZN1a1bEi"), "a::b(int)");
        assert_eq!(demangle("_ZN1a1bEi@plt"), "a::b(int)@plt");
        assert_eq!(demangle("_RNvC3abc1f"), "abc::f");
    }

    #[test]
    fn a_name_is_meant_without_namespace_and_parameters() {
        for typed in ["a::b(int)", "a::b", "b", "b(int)"] {
            assert!(is_meant("a::b(int)", typed), "{typed}");
        }
        for typed in ["a", "::b", "int", "b(", "b()"] {
            assert!(!is_meant("a::b(int)", typed), "{typed}");
        }
        assert!(is_meant("(anonymous namespace)::f(void (*)(int)) const", "f"));
        assert!(is_meant("a::f<std::vector<int> >(int)", "f"));
        assert!(!is_meant("a<b::c>::f()", "c>::f"));
    }

    #[test]
    fn a_name_that_stands_for_too_much_stays_as_it_is() {
        // Each substitution doubles what the one before stands for.
        let mut name = String::from("_Z1fSt4pairIiiE");
        name.push_str(&"S_".repeat(10_000));
        assert!(demangle(&name).len() <= 1 << 16);
    }
}
