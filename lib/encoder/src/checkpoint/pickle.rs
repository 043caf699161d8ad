//! A reader of Python's pickle format that knows tensors and plain data and nothing else: a file that
//! names any other class or function is refused with that name, and nothing is ever called.

use std::collections::HashMap;
use std::rc::Rc;

use tch::Kind;

/// A value on the machine's stack. What a tuple, a list or a dictionary holds lies in the [`Heap`], so that neither
/// deep nesting nor the sharing of a value costs anything.
#[derive(Clone, Debug)]
pub enum Value {
    None,
    Bool,
    /// Wide enough for the number that marks PyTorch's old files.
    Int(i128),
    Float,
    Text(Rc<str>),
    Tuple(Items),
    List(Items),
    /// Keys and values in turn.
    Dict(Items),
    Callable(Callable),
    Storage(Storage),
    Tensor(Rc<StoredTensor>),
}

/// A place in the [`Heap`].
#[derive(Clone, Copy, Debug)]
pub struct Items(usize);

/// What the tuples, lists and dictionaries of a pickle hold.
#[derive(Debug, Default)]
pub struct Heap(Vec<Vec<Value>>);

impl Heap {
    fn add(&mut self, items: Vec<Value>) -> Items {
        self.0.push(items);
        Items(self.0.len() - 1)
    }

    /// The values of a tuple or list, or the keys and values of a dictionary.
    pub fn get(&self, items: Items) -> &[Value] {
        &self.0[items.0]
    }
}

/// The classes and functions that may be named.
#[derive(Clone, Copy, Debug)]
pub enum Callable {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    StorageType(Kind),
}

/// A reference to elements that lie outside the pickle.
#[derive(Clone, Debug)]
pub struct Storage {
    pub key: Rc<str>,
    pub kind: Kind,
}

/// A tensor over a storage; offset and strides count elements.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    pub storage: Storage,
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

type Fallible<T> = std::result::Result<T, String>;

/// Dimensions that a tensor may have, as in PyTorch.
const MAX_DIMENSIONS: usize = 64;

/// Reads one pickle at the beginning of `bytes`; returns its value, what that holds, and its length.
pub fn read(bytes: &[u8]) -> Fallible<(Value, Heap, usize)> {
    let (heap, memo) = (Heap::default(), HashMap::new());
    let mut machine = Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo, heap };
    let value = machine.run()?;
    Ok((value, machine.heap, machine.at))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    heap: Heap,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Fallible<Value> {
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),

                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                b'J' => {
                    let bytes = self.array::<4>()?;
                    self.stack.push(Value::Int(i32::from_le_bytes(bytes).into()));
                }
                0x8a => self.long()?,
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Float);
                }
                b'X' | b'T' => self.text::<4>()?,
                b'U' | 0x8c => self.text::<1>()?,
                0x8d => self.text::<8>()?,

                b')' => self.push(Value::Tuple, Vec::new()),
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Value::Tuple, items);
                }
                code @ 0x85..=0x87 => {
                    let items = self.last(usize::from(code - 0x84))?;
                    self.push(Value::Tuple, items);
                }
                b']' => self.push(Value::List, Vec::new()),
                b'}' => self.push(Value::Dict, Vec::new()),
                b'a' => {
                    let items = self.last(1)?;
                    self.extend(items)?;
                }
                b's' => {
                    let items = self.last(2)?;
                    self.extend(items)?;
                }
                b'e' | b'u' => {
                    let items = self.since_mark()?;
                    self.extend(items)?;
                }

                b'q' => {
                    let slot = self.byte()?;
                    self.remember(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.remember(slot)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let slot = self.byte()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot)?;
                }

                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(Value::Callable(callable(module, name)?));
                }
                0x93 => match &self.last(2)?[..] {
                    [Value::Text(module), Value::Text(name)] => {
                        self.stack.push(Value::Callable(callable(module, name)?))
                    }
                    _ => return Err("malformed pickle: a name that is no text".into()),
                },
                b'Q' => {
                    let reference = self.pop()?;
                    self.stack.push(Value::Storage(storage(&reference, &self.heap)?));
                }
                b'R' => {
                    let [function, arguments] = &self.last(2)?[..] else { return Err(short()) };
                    self.stack.push(call(function, arguments, &mut self.heap)?);
                }
                // The state of a dictionary: attributes that weights have no use for.
                b'b' => drop(self.pop()?),
                code => return Err(format!("pickle operation {code:#04x} is not one that weights need")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Fallible<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or_else(short)?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(short)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Fallible<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| short())
    }

    fn byte(&mut self) -> Fallible<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn line(&mut self) -> Fallible<&'a str> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').ok_or_else(short)?;
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|e| e.to_string())
    }

    /// Little-endian, unsigned, `N` bytes.
    fn length<const N: usize>(&mut self) -> Fallible<usize> {
        let value = self.take(N)?.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| short())
    }

    fn integer(&mut self, count: usize) -> Fallible<()> {
        let value = self.take(count)?.iter().rev().fold(0, |value, &byte| value << 8 | i128::from(byte));
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn long(&mut self) -> Fallible<()> {
        let count = usize::from(self.byte()?);
        let bytes = self.take(count)?;
        if count > 16 {
            return Err("malformed pickle: a number of more than 16 bytes".into());
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[..count].copy_from_slice(bytes);
        self.stack.push(Value::Int(i128::from_le_bytes(wide)));
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Fallible<()> {
        let length = self.length::<N>()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|e| e.to_string())?;
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    fn pop(&mut self) -> Fallible<Value> {
        self.stack.pop().ok_or_else(short)
    }

    fn last(&mut self, count: usize) -> Fallible<Vec<Value>> {
        let start = self.stack.len().checked_sub(count).ok_or_else(short)?;
        Ok(self.stack.split_off(start))
    }

    fn since_mark(&mut self) -> Fallible<Vec<Value>> {
        let start = self.marks.pop().filter(|&start| start <= self.stack.len()).ok_or_else(short)?;
        Ok(self.stack.split_off(start))
    }

    /// Pushes a tuple, a list or a dictionary of `items`.
    fn push(&mut self, kind: fn(Items) -> Value, items: Vec<Value>) {
        let items = self.heap.add(items);
        self.stack.push(kind(items));
    }

    /// Adds to the list or dictionary on top of the stack.
    fn extend(&mut self, items: Vec<Value>) -> Fallible<()> {
        match self.stack.last() {
            Some(Value::List(held)) => self.heap.0[held.0].extend(items),
            Some(Value::Dict(held)) if items.len().is_multiple_of(2) => self.heap.0[held.0].extend(items),
            _ => return Err("malformed pickle: items of no list or dictionary".into()),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Fallible<()> {
        let value = self.stack.last().ok_or_else(short)?.clone();
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Fallible<()> {
        let value = self.memo.get(&slot).ok_or_else(short)?.clone();
        self.stack.push(value);
        Ok(())
    }
}

fn short() -> String {
    "malformed or truncated pickle".into()
}

fn callable(module: &str, name: &str) -> Fallible<Callable> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Callable::OrderedDict,
        ("torch", "Size") => Callable::Size,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Callable::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Callable::RebuildParameter,
        ("torch", "FloatStorage") => Callable::StorageType(Kind::Float),
        ("torch", "HalfStorage") => Callable::StorageType(Kind::Half),
        ("torch", "BFloat16Storage") => Callable::StorageType(Kind::BFloat16),
        ("torch", "DoubleStorage") => Callable::StorageType(Kind::Double),
        ("torch", "LongStorage") => Callable::StorageType(Kind::Int64),
        ("torch", "IntStorage") => Callable::StorageType(Kind::Int),
        ("torch", "ShortStorage") => Callable::StorageType(Kind::Int16),
        ("torch", "CharStorage") => Callable::StorageType(Kind::Int8),
        ("torch", "ByteStorage") => Callable::StorageType(Kind::Uint8),
        ("torch", "BoolStorage") => Callable::StorageType(Kind::Bool),
        _ => return Err(format!("refused: it names {module}.{name}, and only tensors are read")),
    })
}

/// ("storage", type, key, device, elements, …)
fn storage(reference: &Value, heap: &Heap) -> Fallible<Storage> {
    if let Value::Tuple(items) = reference
        && let [Value::Text(tag), Value::Callable(Callable::StorageType(kind)), Value::Text(key), _, _, rest @ ..] =
            heap.get(*items)
        && &**tag == "storage"
    {
        if let [Value::Tuple(_), ..] = rest {
            return Err("storages that are views of others are not supported; save it with a newer PyTorch".into());
        }
        return Ok(Storage { key: key.clone(), kind: *kind });
    }
    Err("malformed pickle: not a reference to a tensor's elements".into())
}

fn call(function: &Value, arguments: &Value, heap: &mut Heap) -> Fallible<Value> {
    let (Value::Callable(function), Value::Tuple(arguments)) = (function, arguments) else {
        return Err("malformed pickle: a call of something else than a function".into());
    };
    match (function, heap.get(*arguments)) {
        (Callable::OrderedDict, []) => Ok(Value::Dict(heap.add(Vec::new()))),
        (Callable::Size, [Value::Tuple(sizes)]) => Ok(Value::Tuple(*sizes)),
        (Callable::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
        (Callable::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, strides, ..]) => {
            Ok(Value::Tensor(Rc::new(StoredTensor {
                storage: storage.clone(),
                offset: i64::try_from(*offset).map_err(|_| short())?,
                shape: integers(shape, heap)?,
                strides: integers(strides, heap)?,
            })))
        }
        _ => Err(format!("malformed pickle: unexpected arguments of {function:?}")),
    }
}

fn integers(value: &Value, heap: &Heap) -> Fallible<Vec<i64>> {
    let Value::Tuple(items) = value else { return Err(short()) };
    let items = heap.get(*items);
    if items.len() > MAX_DIMENSIONS {
        return Err(format!("a tensor of {} dimensions", items.len()));
    }
    let integer = |item: &Value| match item {
        Value::Int(value) => i64::try_from(*value).map_err(|_| short()),
        _ => Err(short()),
    };
    items.iter().map(integer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_tensors_is_refused_by_name() {
        let error = read(b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00ls\x85R.").unwrap_err();
        assert_eq!(error, "refused: it names posix.system, and only tensors are read");
        let error = read(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").unwrap_err();
        assert!(error.contains("builtins.eval"), "{error}");
    }

    #[test]
    fn numbers_of_every_width() {
        let number = |bytes: &[u8]| match read(bytes) {
            Ok((Value::Int(value), ..)) => value,
            _ => panic!("{bytes:?} is no number"),
        };
        assert_eq!(number(b"K\xff."), 255);
        assert_eq!(number(b"M\x01\x02."), 513);
        assert_eq!(number(b"J\xff\xff\xff\xff."), -1);
        assert_eq!(number(b"\x8a\x02\x00\xff."), -256);
        assert_eq!(number(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), super::super::pytorch::MAGIC);
    }

    #[test]
    fn nesting_and_sharing_cost_no_stack_and_no_memory() {
        let nested = [vec![b')'], vec![0x85; 300_000], vec![b'.']].concat();
        assert!(matches!(read(&nested), Ok((Value::Tuple(_), ..))));
        // A list inside of which a list is made, and so on, each reached through the memo.
        let doubled = [vec![b']', b'q', 0], b"]h\x00ah\x00aq\x00".repeat(1000), vec![b'.']].concat();
        assert!(matches!(read(&doubled), Ok((Value::List(_), ..))));
    }

    #[test]
    fn malformed_pickles_are_errors() {
        for bytes in [
            &b""[..],
            b"t.",
            b"R.",
            b"h\x00.",
            b"K",
            b"X\xff\xff\xff\xff",
            b"K\x01K\x02a.",
            b"K\x01Q.",
            b"cxx",
            b"(0t.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
