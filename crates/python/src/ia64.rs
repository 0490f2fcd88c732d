//! IA-64 unwinding: `odograph.compat.uwx` and `odograph.unwind.ia64` derive everything from these.

use std::any::Any;
use std::sync::{Mutex, PoisonError};

use odograph_unwind::ia64::{
    add_to_bsp, Answer, ByteOrder, Datum, Env, Failure, Field, Fields, Header, Items, Named, Pair, Question,
    Register, Request, Status, Stepped, Target, Value, FREE,
};
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyInt, PyList, PyMemoryView, PyString};

use crate::argument::{copy_buffer, Number};
use crate::error::{self, Kind, Place};

const OK: i32 = 0;

/// The callbacks of an environment, and the token they are given.
#[derive(Default)]
struct Callbacks {
    copy_in: Option<Py<PyAny>>,
    look_up: Option<Py<PyAny>>,
    token: Option<Py<PyAny>>,
}

impl Callbacks {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        let clone = |object: &Option<Py<PyAny>>| object.as_ref().map(|object| object.clone_ref(py));
        Callbacks { copy_in: clone(&self.copy_in), look_up: clone(&self.look_up), token: clone(&self.token) }
    }
}

/// The callbacks as the engine asks them.
struct PyTarget<'py> {
    py: Python<'py>,
    callbacks: Callbacks,
    /// The vector of the last look-up, which is freed as it was given.
    vector: Option<Bound<'py, PyList>>,
}

fn foreign(error: PyErr) -> Failure {
    Failure::Foreign(Box::new(error) as Box<dyn Any + Send>)
}

impl<'py> PyTarget<'py> {
    fn ask_copy_in(&self, request: Request, place: u64, into: &mut [u8]) -> PyResult<bool> {
        let Some(function) = &self.callbacks.copy_in else { return Ok(false) };
        let buffer = PyByteArray::new(self.py, into);
        let view = PyMemoryView::from(buffer.as_any())?;
        let arguments = (request as i32, view, place, into.len(), &self.callbacks.token);
        let answer = function.bind(self.py).call1(arguments)?;
        let count: i64 = status_of(&answer, "copyin")?;
        if usize::try_from(count) != Ok(into.len()) {
            return Ok(false);
        }
        // The callback may keep its view, and shrink nothing while it does; what it wrote is copied here.
        let bytes = buffer.to_vec();
        if bytes.len() != into.len() {
            return Ok(false);
        }
        into.copy_from_slice(&bytes);
        Ok(true)
    }

    fn call_look_up(&self, request: i32, ip: u64, vector: &Bound<'py, PyList>) -> PyResult<i64> {
        let Some(function) = &self.callbacks.look_up else { return Ok(1) };
        let answer = function.bind(self.py).call1((request, ip, &self.callbacks.token, vector))?;
        status_of(&answer, "lookupip")
    }

    fn ask_look_up(&mut self, question: Question, ip: u64, pairs: &mut Vec<Pair>) -> PyResult<Answer> {
        let vector = PyList::empty(self.py);
        for (key, datum) in pairs.iter() {
            vector.append(key)?;
            match datum {
                Datum::Word(word) => vector.append(word)?,
                Datum::Name(name) => {
                    vector.append(name.as_deref().map(|name| PyBytes::new(self.py, name)))?
                }
            }
        }
        vector.append(0)?;
        let answer = Answer::from_code(self.call_look_up(question as i32, ip, &vector)?);
        let read =
            if answer.is_freed() || answer == Answer::Remap { read_vector(&vector) } else { Ok(vec![]) };
        match read {
            Ok(read) => *pairs = read,
            Err(error) => {
                if answer.is_freed() {
                    self.call_look_up(FREE, ip, &vector)?;
                }
                return Err(error);
            }
        }
        self.vector = Some(vector);
        Ok(answer)
    }
}

impl Target for PyTarget<'_> {
    fn copy_in(&mut self, request: Request, place: u64, into: &mut [u8]) -> Result<bool, Failure> {
        if self.callbacks.copy_in.is_none() {
            return Err(Status::NoCallbacks.into());
        }
        self.ask_copy_in(request, place, into).map_err(foreign)
    }

    fn look_up(&mut self, question: Question, ip: u64, pairs: &mut Vec<Pair>) -> Result<Answer, Failure> {
        if self.callbacks.look_up.is_none() {
            return Err(Status::NoCallbacks.into());
        }
        self.ask_look_up(question, ip, pairs).map_err(foreign)
    }

    fn free(&mut self, ip: u64) -> Result<(), Failure> {
        let Some(vector) = self.vector.take() else { return Ok(()) };
        self.call_look_up(FREE, ip, &vector).map(|_| ()).map_err(foreign)
    }
}

/// What a callback returns must be an integer; those that fit nowhere mean nothing.
fn status_of(answer: &Bound<'_, PyAny>, name: &str) -> PyResult<i64> {
    if !answer.is_instance_of::<PyInt>() {
        let kind = answer.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} must return an integer, not {kind}")));
    }
    Ok(answer.extract::<i64>().unwrap_or(-1))
}

/// The pairs of a vector up to key 0 or the end of the list.
fn read_vector(vector: &Bound<'_, PyList>) -> PyResult<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut items = vector.iter();
    while let Some(key) = items.next() {
        let key = word_of(&key)?;
        if key == 0 {
            break;
        }
        let Some(value) = items.next() else {
            // A key without a value makes the answer as wrong as a key that no answer has.
            return Ok(vec![(u64::MAX, Datum::Word(0))]);
        };
        pairs.push((key, datum_of(&value)?));
    }
    Ok(pairs)
}

fn word_of(object: &Bound<'_, PyAny>) -> PyResult<u64> {
    object.extract::<Number>().map(|number| number.0)
}

fn datum_of(object: &Bound<'_, PyAny>) -> PyResult<Datum> {
    if object.is_none() {
        return Ok(Datum::Name(None));
    }
    if let Ok(name) = object.cast::<PyString>() {
        let bytes = name.call_method1("encode", ("utf-8", "surrogateescape"))?;
        return Ok(Datum::Name(Some(copy_buffer(&bytes, "a name must be")?)));
    }
    if let Ok(name) = object.cast::<PyBytes>() {
        return Ok(Datum::Name(Some(name.as_bytes().to_vec())));
    }
    word_of(object).map(Datum::Word)
}

fn name_object<'py>(py: Python<'py>, name: Option<Vec<u8>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(name) = name else { return Ok(None) };
    let bytes = PyBytes::new(py, &name);
    bytes.call_method1("decode", ("utf-8", "surrogateescape")).map(Some)
}

/// A register's number as Python gives it. Numbers that are too large or negative are those of no register.
fn register_of(object: &Bound<'_, PyAny>) -> PyResult<Option<Register>> {
    if !object.is_instance_of::<PyInt>() {
        let kind = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!("a register is an integer, not {kind}")));
    }
    Ok(object.extract::<u64>().ok().and_then(Register::from_code))
}

/// A status, or the exception that a callback raised.
fn status(failure: Failure) -> PyResult<i32> {
    match failure {
        Failure::Status(status) => Ok(status.code()),
        Failure::Foreign(object) => match object.downcast::<PyErr>() {
            Ok(error) => Err(*error),
            Err(_) => Ok(Status::NoMemory.code()),
        },
    }
}

fn code(result: Result<(), Status>) -> i32 {
    result.map_or_else(Status::code, |()| OK)
}

/// An unwind environment: a context, its callbacks, and what it has learned.
#[pyclass(frozen, module = "odograph._native")]
pub struct UwxEnv {
    /// None while a call is under way.
    env: Mutex<Option<Box<Env>>>,
    callbacks: Mutex<Callbacks>,
}

impl UwxEnv {
    /// Takes the environment for one call; a call from inside a callback finds none.
    fn with<T>(&self, py: Python<'_>, call: impl FnOnce(&mut Env) -> T) -> PyResult<T> {
        let taken = self.env.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut env) = taken else {
            let message =
                "this unwind environment is used already: by a call whose callback this is, or a thread";
            return Err(error::new(py, Kind::Reentered, message, Place::default()));
        };
        let result = call(&mut env);
        *self.env.lock().unwrap_or_else(PoisonError::into_inner) = Some(env);
        Ok(result)
    }

    /// As `with`, with the callbacks as a target. `NoCallbacks` if there are none and they might be asked.
    fn ask<T>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Env, &mut PyTarget<'_>) -> Result<T, Failure>,
    ) -> PyResult<Result<T, i32>> {
        let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).clone_ref(py);
        let mut target = PyTarget { py, callbacks, vector: None };
        match self.with(py, |env| call(env, &mut target))? {
            Ok(value) => Ok(Ok(value)),
            Err(failure) => status(failure).map(Err),
        }
    }

    fn names(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Env, &mut PyTarget<'_>) -> Result<Named, Failure>,
    ) -> PyResult<(i32, Named)> {
        Ok(match self.ask(py, call)? {
            Ok(named) => (OK, named),
            Err(code) => (code, Named::default()),
        })
    }
}

type Names<'py> = (i32, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Option<u64>);

#[pymethods]
impl UwxEnv {
    #[new]
    fn new() -> Self {
        UwxEnv { env: Mutex::new(Some(Box::new(Env::new()))), callbacks: Mutex::new(Callbacks::default()) }
    }

    fn set_remote(&self, py: Python<'_>, big_endian: bool) -> PyResult<i32> {
        let order = if big_endian { ByteOrder::Big } else { ByteOrder::Little };
        self.with(py, |env| env.set_byte_order(order))?;
        Ok(OK)
    }

    fn set_nofr(&self, py: Python<'_>) -> PyResult<i32> {
        self.with(py, Env::skip_floats)?;
        Ok(OK)
    }

    fn register_callbacks(
        &self,
        py: Python<'_>,
        tok: Py<PyAny>,
        copyin: Option<Py<PyAny>>,
        lookupip: Option<Py<PyAny>>,
    ) -> PyResult<i32> {
        self.with(py, Env::forget)?;
        let callbacks = Callbacks { copy_in: copyin, look_up: lookupip, token: Some(tok) };
        let before = {
            let mut ours = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *ours, callbacks)
        };
        // Dropping a function may run Python code, which may use this environment.
        drop(before);
        Ok(OK)
    }

    fn init_context(
        &self,
        py: Python<'_>,
        ip: Number,
        sp: Number,
        bsp: Number,
        cfm: Number,
    ) -> PyResult<i32> {
        self.with(py, |env| env.init_context(ip.0, sp.0, bsp.0, cfm.0))?;
        Ok(OK)
    }

    fn init_history(&self, py: Python<'_>) -> PyResult<i32> {
        self.with(py, Env::init_history)?;
        Ok(OK)
    }

    fn set_reg(&self, py: Python<'_>, regid: &Bound<'_, PyAny>, value: Number) -> PyResult<i32> {
        let Some(register) = register_of(regid)? else { return Ok(Status::BadRegister.code()) };
        self.with(py, |env| code(env.set_register(register, value.0)))
    }

    fn set_fr(&self, py: Python<'_>, regid: &Bound<'_, PyAny>, value: (Number, Number)) -> PyResult<i32> {
        let Some(register) = register_of(regid)? else { return Ok(Status::BadRegister.code()) };
        self.with(py, |env| code(env.set_float(register, [value.0 .0, value.1 .0])))
    }

    /// Sets the NaT bit of a general register from 4 to 7; uwx has no function for it.
    fn set_nat(&self, py: Python<'_>, regid: &Bound<'_, PyAny>, nat: bool) -> PyResult<i32> {
        let Some(register) = register_of(regid)? else { return Ok(Status::BadRegister.code()) };
        self.with(py, |env| code(env.set_nat(register, nat)))
    }

    fn step(&self, py: Python<'_>) -> PyResult<i32> {
        let missing = {
            let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
            callbacks.copy_in.is_none() || callbacks.look_up.is_none()
        };
        if missing {
            return Ok(Status::NoCallbacks.code());
        }
        Ok(match self.ask(py, |env, target| env.step(target))? {
            Ok(Stepped::Caller) => OK,
            Ok(Stepped::Bottom) => 1,
            Ok(Stepped::AbiFrame) => 2,
            Err(code) => code,
        })
    }

    fn get_reg<'py>(
        &self,
        py: Python<'py>,
        regid: &Bound<'py, PyAny>,
    ) -> PyResult<(i32, Option<Bound<'py, PyAny>>)> {
        let Some(register) = register_of(regid)? else { return Ok((Status::BadRegister.code(), None)) };
        Ok(match self.ask(py, |env, target| env.register(target, register))? {
            Ok(Value::Word(word)) => (OK, Some(word.into_pyobject(py)?.into_any())),
            Ok(Value::Float([low, high])) => (OK, Some((low, high).into_pyobject(py)?.into_any())),
            Err(code) => (code, None),
        })
    }

    fn get_nat(&self, py: Python<'_>, regid: &Bound<'_, PyAny>) -> PyResult<(i32, Option<u8>)> {
        let Some(register) = register_of(regid)? else { return Ok((Status::BadRegister.code(), None)) };
        Ok(match self.ask(py, |env, target| env.nat(target, register))? {
            Ok(nat) => (OK, Some(u8::from(nat))),
            Err(code) => (code, None),
        })
    }

    fn get_spill_loc(&self, py: Python<'_>, regid: &Bound<'_, PyAny>) -> PyResult<(i32, Option<u64>)> {
        let Some(register) = register_of(regid)? else { return Ok((Status::BadRegister.code(), None)) };
        Ok(match self.ask(py, |env, target| env.location(target, register))? {
            Ok(location) => (OK, Some(location.disposition())),
            Err(code) => (code, None),
        })
    }

    fn get_abi_context_code(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |env| env.abi_context())
    }

    fn get_funcstart(&self, py: Python<'_>) -> PyResult<(i32, Option<u64>)> {
        Ok(match self.ask(py, |env, target| env.function_start(target))? {
            Ok(start) => (OK, Some(start)),
            Err(code) => (code, None),
        })
    }

    fn get_module_info<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(i32, Option<Bound<'py, PyAny>>, Option<u64>)> {
        let (code, named) = self.names(py, |env, target| env.module(target))?;
        Ok((code, name_object(py, named.module)?, named.text_base))
    }

    fn get_sym_info<'py>(&self, py: Python<'py>) -> PyResult<Names<'py>> {
        let (code, named) = self.names(py, |env, target| env.symbol(target))?;
        Ok((code, name_object(py, named.module)?, name_object(py, named.function)?, named.offset))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(callbacks) = self.callbacks.try_lock() {
            let all = [&callbacks.copy_in, &callbacks.look_up, &callbacks.token];
            for object in all.into_iter().flatten() {
                visit.call(object)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let before = {
            let mut ours = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *ours)
        };
        drop(before);
    }
}

/// The address of a register `count` registers above the one at `bsp`, or below.
#[pyfunction]
fn uwx_add_to_bsp(bsp: Number, count: i64) -> u64 {
    add_to_bsp(bsp.0, count)
}

type Listed<'py> = Vec<(usize, &'static str, String, Bound<'py, PyDict>)>;

/// The descriptors of an info block: version, flags, bytes of descriptors, and each of them.
#[pyfunction]
#[pyo3(signature = (data, big_endian=false, ilp32=false))]
fn unwind_descriptors<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    big_endian: bool,
    ilp32: bool,
) -> PyResult<(u16, u16, usize, Listed<'py>)> {
    let bytes = copy_buffer(data, "data must be")?;
    let order = if big_endian { ByteOrder::Big } else { ByteOrder::Little };
    let bad = |message: &str, offset: usize| {
        let offset = u64::try_from(offset).ok();
        error::new(py, Kind::InvalidArgument, message, Place { offset, ..Place::default() })
    };
    let Some((first, rest)) = bytes.split_at_checked(8) else {
        return Err(bad("an info block begins with a header of 8 bytes", bytes.len()));
    };
    let header = Header::new(order.word(first));
    let length = u64::from(header.words) * if ilp32 { 4 } else { 8 };
    let area = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let Some(area) = area else {
        return Err(bad(&format!("the info block has {length} bytes of descriptors"), bytes.len()));
    };
    let mut listed = Vec::new();
    let mut items = Items::new(area);
    while let Some(item) = items.next() {
        let item = item.map_err(|status| bad(status.message(), 8 + items.offset()))?;
        let Fields { name, fields } = Fields::from(&item);
        let dictionary = PyDict::new(py);
        for (key, field) in fields {
            match field {
                Field::Number(number) => dictionary.set_item(key, number)?,
                Field::Register(name) => dictionary.set_item(key, name)?,
                Field::Mask(mask) => dictionary.set_item(key, PyBytes::new(py, mask))?,
            }
        }
        listed.push((item.offset, item.format.name(), name, dictionary));
    }
    Ok((header.version, header.flags, area.len(), listed))
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<UwxEnv>()?;
    module.add_function(wrap_pyfunction!(uwx_add_to_bsp, module)?)?;
    module.add_function(wrap_pyfunction!(unwind_descriptors, module)?)
}
