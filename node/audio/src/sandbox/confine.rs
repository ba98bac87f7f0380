//! Gives up all rights that reading an open file does not need.
//!
//! After [`confine`] this process can read and write open files, allocate memory up to its bound, and end. It cannot
//! open files or sockets, start programs or threads, or send signals to other processes: the kernel returns EPERM.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::bounds::Budget;

/// The size of the stack in bytes: the default of programs, whatever the parent's limit.
const STACK: u64 = 8 << 20;
/// The number of open files: those that are open, and the duplicates of the descriptor in readers.
const FILES: u64 = 64;
/// The processor time between the signal that ends the process and the one that cannot be caught, in seconds.
const GRACE: u64 = 5;

/// Bounds this process, which must have a single thread.
pub(super) fn confine(budget: &Budget) -> io::Result<()> {
    let mapped = mapped();
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::thread::set_name(c"quartet-decode");
        // If the system runs out of memory, it ends this process first. Some containers forbid this setting.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    // With 1 instead of 0, neither a dump file nor a dump for a collecting program is written (core(5)).
    bound(Resource::Core, 1, 1)?;
    bound(Resource::Stack, STACK, STACK)?;
    bound(Resource::Nofile, FILES, FILES)?;
    bound(Resource::Nproc, 0, 0)?;
    bound(Resource::Fsize, budget.file, budget.file)?;
    bound(Resource::Cpu, budget.processor, budget.processor.saturating_add(GRACE))?;
    if let Some(mapped) = mapped {
        let most = mapped.saturating_add(budget.memory);
        bound(Resource::As, most, most)?;
    }
    filter::apply()
}

fn bound(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    Ok(setrlimit(resource, Rlimit { current: Some(soft.min(allowed)), maximum: Some(hard.min(allowed)) })?)
}

/// The address space that the program has mapped, in bytes, if the system reports it. A program with libraries for a
/// GPU maps gigabytes.
fn mapped() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod filter {
    use std::io;

    use libc::c_long;
    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
        SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule,
    };

    /// System calls that are allowed with any arguments.
    const ALLOWED: [c_long; 25] = [
        // Open files. The standard library gets the length of an open file with statx, the C library with the others.
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_ftruncate,
        libc::SYS_fstat,
        libc::SYS_statx,
        libc::SYS_newfstatat,
        libc::SYS_close,
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // Signals of its own, such as the handler that reports a stack overflow.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        // Locks, hash tables, clocks, and the exit.
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_exit_group,
    ];
    /// The commands of fcntl that are allowed.
    const FCNTL: [libc::c_int; 4] = [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL];

    /// Forbids every other system call.
    pub(super) fn apply() -> io::Result<()> {
        let program = program().map_err(io::Error::other)?;
        match seccompiler::apply_filter(&program) {
            // The kernel has no filters, or a sandbox around this one forbids them. The other bounds hold.
            Err(Error::Prctl(error) | Error::Seccomp(error))
                if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
            {
                Ok(())
            }
            applied => applied.map_err(io::Error::other),
        }
    }

    fn program() -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules: Vec<(c_long, Vec<Rule>)> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
        let fcntl = FCNTL.into_iter().map(|command| only(1, Is::Eq, command.unsigned_abs().into()));
        rules.push((libc::SYS_fcntl, fcntl.collect::<Result<_, _>>()?));
        // No executable memory.
        let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            rules.push((call, vec![only(2, Is::MaskedEq(executable), 0)?]));
        }
        // abort() sends a signal to its own process.
        let own = u64::from(std::process::id());
        rules.push((libc::SYS_tgkill, vec![only(0, Is::Eq, own)?]));
        for call in [libc::SYS_getpid, libc::SYS_gettid] {
            rules.push((call, Vec::new()));
        }
        let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules.into_iter().collect(), denied, SeccompAction::Allow, arch)?.try_into()
    }

    fn only(argument: u8, is: Is, value: u64) -> Result<Rule, seccompiler::BackendError> {
        Rule::new(vec![Condition::new(argument, Length::Dword, is, value)?])
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod filter {
    /// Filters exist for Linux on two processor architectures only.
    pub(super) fn apply() -> std::io::Result<()> {
        Ok(())
    }
}
