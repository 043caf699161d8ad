//! Where tensors live: `--device auto|cpu|cuda[:N]`.
//! The CUDA half of libtorch is loaded at run time and only when asked for, so one binary serves both.

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hardmine_records::{Error, Result};
use tch::Device;

/// The device that was asked for on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if there is one that works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(DeviceChoice::Auto),
            None if text == "cpu" => Ok(DeviceChoice::Cpu),
            None if text == "cuda" => Ok(DeviceChoice::Cuda(0)),
            Some(("cuda", number)) => {
                number.parse().map(DeviceChoice::Cuda).map_err(|_| format!("'{number}' is not the number of a GPU"))
            }
            _ => Err("expected auto, cpu, cuda or cuda:N".into()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceChoice {
    /// The device that is meant on other machines, which nobody can look at: a GPU only if one was named.
    pub fn expected(self) -> Device {
        match self {
            DeviceChoice::Auto | DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda(number) => Device::Cuda(number),
        }
    }

    /// Opens the device. CUDA is loaded where it may be needed.
    ///
    /// # Errors
    /// A GPU was asked for and can't be had, with the reason.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto => match gpu(0) {
                Ok(device) => Ok(device),
                Err(reason) => {
                    tracing::debug!("no GPU: {reason}");
                    Ok(Device::Cpu)
                }
            },
            DeviceChoice::Cuda(number) => gpu(number).map_err(|reason| {
                Error::new(format!("--device {self}"), reason)
                    .hint("use --device cpu, or auto to take a GPU only where there is one")
            }),
        }
    }
}

fn gpu(number: usize) -> std::result::Result<Device, String> {
    load_cuda()?;
    if !tch::Cuda::is_available() {
        return Err("libtorch finds no usable GPU or driver".into());
    }
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(count) if number < count => {
            leave_attention_to_libtorch();
            Ok(Device::Cuda(number))
        }
        Ok(count) => Err(format!("there are only {count} GPUs, numbered from 0")),
        Err(_) => Err("libtorch can't count the GPUs".into()),
    }
}

/// Loads `libtorch_cuda.so`, which registers itself with the rest of libtorch. It has to happen
/// before libtorch is first asked about CUDA: it remembers the answer.
fn load_cuda() -> std::result::Result<(), String> {
    let beside = folder_of_libtorch().ok_or("libtorch_cpu.so is not among the loaded libraries")?;
    let library = beside.join("libtorch_cuda.so");
    if !library.exists() {
        return Err("this libtorch has no CUDA (no libtorch_cuda.so beside libtorch_cpu.so)".into());
    }
    let name = CString::new(library.into_os_string().into_encoded_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: the name is a valid C string; the library's initializers are libtorch's own. The
    // handle is kept for the life of the process.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a failed dlopen, dlerror gives a C string that lives until the next call.
    let reason = unsafe {
        let text = libc::dlerror();
        if text.is_null() { "unknown reason".into() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Err(format!("libtorch_cuda.so can't be loaded: {reason}"))
}

/// Turns cuDNN off for attention. libtorch prefers it on newer GPUs, but cuDNN makes a plan for every new shape, and
/// nearly every batch of texts has shapes of its own: a training step took ten times as long on an H100.
fn leave_attention_to_libtorch() {
    type GlobalContext = extern "C" fn() -> *mut libc::c_void;
    type SetUseCudnn = extern "C" fn(*mut libc::c_void, bool);
    // tch has no function for it. These are `at::globalContext()` and `at::Context::setSDPUseCuDNN(bool)`.
    let find = |name: &CStr| {
        // SAFETY: the name is a valid C string. Nothing is called here.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!symbol.is_null()).then_some(symbol)
    };
    let Some((context, set)) = find(c"_ZN2at13globalContextEv").zip(find(c"_ZN2at7Context14setSDPUseCuDNNEb")) else {
        tracing::debug!("this libtorch does not let cuDNN be turned off for attention");
        return;
    };
    // SAFETY: the mangled names fix the types of the arguments. The first function returns a reference to an object that
    // lives as long as the process, and the second is a method of that object.
    unsafe {
        let context: GlobalContext = std::mem::transmute(context);
        let set: SetUseCudnn = std::mem::transmute(set);
        set(context(), false);
    }
}

/// The folder that the running program has its `libtorch_cpu.so` from.
fn folder_of_libtorch() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    Path::new(&path[path.find('/')?..]).parent().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }

    #[test]
    fn attention_without_cudnn_can_be_asked_for() {
        tch::set_num_threads(1);
        leave_attention_to_libtorch();
        // SAFETY: the name is a valid C string.
        let get = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_ZN2at13globalContextEv".as_ptr()) };
        assert!(!get.is_null(), "libtorch's name for its context has changed");
    }

    #[test]
    fn libtorch_is_found_beside_itself() {
        tch::set_num_threads(1);
        assert!(folder_of_libtorch().unwrap().join("libtorch_cpu.so").exists());
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_of_one_line() {
        let error = DeviceChoice::Cuda(99).open().unwrap_err().to_string();
        assert!(error.starts_with("--device cuda:99: ") && !error.contains('\n'), "{error}");
    }
}
