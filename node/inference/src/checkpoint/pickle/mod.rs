//! Pickles of plain data, read without running them.
//!
//! A pickle is a program for a stack machine (Python's `pickletools`). This machine has the instructions that plain data
//! needs: protocol 2, and the instructions that protocols 3 and 4 write for the same data. It accepts the few Python
//! names that a checkpoint contains and refuses any other by its name. Nesting and memory are bounded.

mod names;
mod object;
mod program;

use std::collections::HashMap;

pub(super) use object::{Object, TensorView};
pub use program::PickleError;
use program::Program;

/// The largest value that the memo keeps, in values; larger ones become [`Object::Other`]. Checkpoints recall names and
/// shapes. Without a limit, a short file could recall lists of lists of lists until the memory is full.
const MAX_RECALLED: usize = 256;

const UNDERFLOW: &str = "it takes a value from an empty stack";

/// The instructions, with the names of `pickletools`.
mod opcode {
    pub(super) const MARK: u8 = b'(';
    pub(super) const STOP: u8 = b'.';
    pub(super) const POP: u8 = b'0';
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const NONE: u8 = b'N';
    pub(super) const BINPERSID: u8 = b'Q';
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const BUILD: u8 = b'b';
    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const APPEND: u8 = b'a';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const LIST: u8 = b'l';
    pub(super) const TUPLE: u8 = b't';
    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const BINBYTES: u8 = b'B';
    pub(super) const SHORT_BINBYTES: u8 = b'C';
    pub(super) const BINSTRING: u8 = b'T';
    pub(super) const SHORT_BINSTRING: u8 = b'U';
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const TUPLE1: u8 = 0x85;
    pub(super) const TUPLE3: u8 = 0x87;
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const FRAME: u8 = 0x95;
}
use opcode::*;

/// Reads the value that a pickle describes.
pub(super) fn read(program: &[u8]) -> Result<Object, PickleError> {
    let mut machine =
        Machine { program: Program::new(program), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        match machine.program.instruction()? {
            STOP => return machine.pop(),
            instruction => machine.execute(instruction)?,
        }
    }
}

struct Machine<'a> {
    program: Program<'a>,
    stack: Vec<Object>,
    /// Heights of the stack at which tuples, lists and groups of items begin.
    marks: Vec<usize>,
    memo: HashMap<u64, Object>,
}

impl Machine<'_> {
    fn execute(&mut self, instruction: u8) -> Result<(), PickleError> {
        match instruction {
            PROTO => drop(self.program.bytes(1)?),
            FRAME => drop(self.program.bytes(8)?),
            MARK => self.marks.push(self.stack.len()),
            // BUILD sets an object's state; no value that is read here has any.
            POP | BUILD => drop(self.pop()?),
            BINPUT | LONG_BINPUT | MEMOIZE => self.memoize(instruction)?,
            APPEND | APPENDS | SETITEM | SETITEMS => self.add_items(instruction)?,
            _ => {
                let value = self.value(instruction)?;
                self.push(value)?;
            }
        }
        Ok(())
    }

    /// The value that an instruction pushes.
    fn value(&mut self, instruction: u8) -> Result<Object, PickleError> {
        Ok(match instruction {
            NONE => Object::None,
            NEWTRUE => Object::Bool(true),
            NEWFALSE => Object::Bool(false),
            BININT1 => Object::Int(self.program.unsigned(1)? as i64),
            BININT2 => Object::Int(self.program.unsigned(2)? as i64),
            BININT => Object::Int(i64::from(self.program.unsigned(4)? as u32 as i32)),
            LONG1 => Object::Int(self.program.counted_integer()?),
            BINFLOAT => Object::Float(self.program.float()?),
            BINUNICODE => Object::Text(self.program.counted_text(4)?),
            SHORT_BINUNICODE => Object::Text(self.program.counted_text(1)?),
            SHORT_BINBYTES | SHORT_BINSTRING => self.skip_bytes(1)?,
            BINBYTES | BINSTRING => self.skip_bytes(4)?,
            EMPTY_DICT => Object::Table(Vec::new()),
            EMPTY_LIST | EMPTY_TUPLE => Object::List(Vec::new()),
            TUPLE1..=TUPLE3 => {
                let count = usize::from(instruction - TUPLE1) + 1;
                let start = self.stack.len().checked_sub(count);
                Object::List(self.split_off(start)?)
            }
            TUPLE | LIST => {
                let start = self.marks.pop();
                Object::List(self.split_off(start)?)
            }
            GLOBAL | STACK_GLOBAL => self.name(instruction)?,
            REDUCE => self.reduce()?,
            BINPERSID => self.storage()?,
            BINGET | LONG_BINGET => self.recall(instruction)?,
            other => return Err(PickleError::Instruction(other)),
        })
    }

    fn push(&mut self, value: Object) -> Result<(), PickleError> {
        if matches!(&value, Object::List(values) if !values.iter().all(Object::can_nest)) {
            return Err(self.program.damaged("it nests too deep"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Object, PickleError> {
        self.stack.pop().ok_or_else(|| self.program.damaged(UNDERFLOW))
    }

    /// Takes the values from height `start` on.
    fn split_off(&mut self, start: Option<usize>) -> Result<Vec<Object>, PickleError> {
        let start = start.filter(|start| *start <= self.stack.len()).ok_or_else(|| self.program.damaged(UNDERFLOW))?;
        Ok(self.stack.split_off(start))
    }

    /// Byte strings occur only in metrics.
    fn skip_bytes(&mut self, length_bytes: usize) -> Result<Object, PickleError> {
        let length = self.program.unsigned(length_bytes)?;
        self.program.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Object::Other)
    }

    /// A Python name, as two lines or from two texts on the stack.
    fn name(&mut self, instruction: u8) -> Result<Object, PickleError> {
        let (module, name) = if instruction == GLOBAL {
            (self.program.line()?, self.program.line()?)
        } else {
            match (self.pop()?, self.pop()?) {
                (Object::Text(name), Object::Text(module)) => (module, name),
                _ => return Err(self.program.damaged("a name is not text")),
            }
        };
        let name = format!("{module}.{name}");
        if !names::is_allowed(&name) {
            return Err(PickleError::Forbidden(name));
        }
        Ok(Object::Name(name))
    }

    /// The value of a call.
    fn reduce(&mut self) -> Result<Object, PickleError> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Object::List(arguments), Object::Name(name)) = (arguments, callee) else {
            return Err(self.program.damaged("it calls a value that is not a name"));
        };
        names::call(&name, &arguments).ok_or(PickleError::Forbidden(name))
    }

    /// A file of numbers: PyTorch's persistent ids are tuples of `"storage"`, the storage's class, the file, and more.
    fn storage(&mut self) -> Result<Object, PickleError> {
        if let Object::List(parts) = self.pop()?
            && let [Object::Text(kind), Object::Name(class), Object::Text(file), ..] = &parts[..]
            && kind == "storage"
        {
            return Ok(names::storage_type(class).map_or(Object::Other, |dtype| Object::Storage(dtype, file.clone())));
        }
        Err(self.program.damaged("a storage is not described"))
    }

    fn memoize(&mut self, instruction: u8) -> Result<(), PickleError> {
        let index = match instruction {
            BINPUT => self.program.unsigned(1)?,
            LONG_BINPUT => self.program.unsigned(4)?,
            _ => self.memo.len() as u64,
        };
        let value = self.stack.last().ok_or_else(|| self.program.damaged(UNDERFLOW))?;
        self.memo.insert(index, if value.is_small(MAX_RECALLED) { value.clone() } else { Object::Other });
        Ok(())
    }

    fn recall(&mut self, instruction: u8) -> Result<Object, PickleError> {
        let index = self.program.unsigned(if instruction == BINGET { 1 } else { 4 })?;
        self.memo.get(&index).cloned().ok_or_else(|| self.program.damaged("it recalls a value that was not stored"))
    }

    /// Adds the topmost values to the list or table below them.
    fn add_items(&mut self, instruction: u8) -> Result<(), PickleError> {
        let start = match instruction {
            APPEND => self.stack.len().checked_sub(1),
            SETITEM => self.stack.len().checked_sub(2),
            _ => self.marks.pop(),
        };
        let values = self.split_off(start)?;
        if !values.iter().all(Object::can_nest) {
            return Err(self.program.damaged("it nests too deep"));
        }
        match (self.stack.last_mut(), instruction) {
            (Some(Object::List(list)), APPEND | APPENDS) => list.extend(values),
            (Some(Object::Table(table)), SETITEM | SETITEMS) => {
                let mut values = values.into_iter();
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    table.push((key, value));
                }
            }
            (Some(Object::Other), _) => {}
            _ => return Err(self.program.damaged("it adds a value to neither a list nor a table")),
        }
        Ok(())
    }
}
