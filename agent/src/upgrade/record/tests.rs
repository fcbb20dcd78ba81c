//! A host without files and processes, on which each process dies at each step.

use super::*;

const OLD: FileId = FileId { device: 1, inode: 10 };
const NEW: FileId = FileId { device: 1, inode: 20 };
const ID: UpgradeId = UpgradeId([1; 16]);
const OWNER: KeyId = KeyId([2; 16]);
const LIMIT: u64 = 60_000;

/// What the new program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Works,
    Ends,
    /// It runs, and nobody can log in to it.
    Hangs,
}

/// What happens after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    AgentDies,
    GuardDies,
    Reboot,
    ControllerDies,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    program: Program,
    fault: Fault,
    /// The fault comes after so many steps.
    after: u32,
    /// Something else starts the agent again when it has ended.
    has_manager: bool,
}

struct Host {
    case: Case,
    steps: u32,
    record: Option<Record>,
    installed: FileId,
    /// The agent's process, and the file that it executes.
    agent: Option<(Process, FileId)>,
    has_guard: bool,
    has_controller: bool,
    absent_since: Option<u64>,
    boot: BootId,
    ms: u64,
    pids: i32,
    launches: u32,
}

/// The process that acts died in the middle of it.
struct Died;

impl Host {
    fn new(case: Case) -> Self {
        let agent = Some((Process { pid: 1, started: 0 }, OLD));
        Self {
            case,
            steps: 0,
            record: None,
            installed: OLD,
            agent,
            has_guard: false,
            has_controller: true,
            absent_since: None,
            boot: BootId([0; 16]),
            ms: 1_000,
            pids: 1,
            launches: 0,
        }
    }

    fn now(&self, me: Process) -> Now {
        Now { boot: self.boot, ms: self.ms, me, installed: Some(self.installed) }
    }

    /// One more step is done, and the fault may come.
    fn step(&mut self) -> Result<(), Died> {
        self.steps += 1;
        if self.steps != self.case.after {
            return Ok(());
        }
        match self.case.fault {
            Fault::Nothing => return Ok(()),
            Fault::GuardDies => {
                self.has_guard = false;
                return Ok(());
            }
            Fault::ControllerDies => {
                self.has_controller = false;
                return Ok(());
            }
            Fault::AgentDies => self.agent = None,
            Fault::Reboot => {
                (self.agent, self.has_guard, self.absent_since) = (None, false, None);
                (self.boot, self.ms) = (BootId([1; 16]), 500);
            }
        }
        Err(Died)
    }

    fn set(&mut self, phase: Phase) {
        let ms = self.ms;
        if let Some(record) = &mut self.record {
            (record.phase, record.since) = (phase, ms);
        }
    }

    /// The agent serves the request of the upgrade, and is asked to stop.
    fn begin(&mut self) -> Result<(), Died> {
        self.record = Some(record(self));
        self.step()?;
        self.has_guard = true;
        self.set(Phase::Guarded);
        self.step()?;
        let (process, _) = self.agent.take().unwrap();
        self.step()?;
        if self.case.has_manager { self.start() } else { self.execute(process) }
    }

    fn start(&mut self) -> Result<(), Died> {
        self.pids += 1;
        self.execute(Process { pid: self.pids, started: self.ms })
    }

    /// A process executes what has the program's name.
    fn execute(&mut self, me: Process) -> Result<(), Died> {
        let next = self.record.as_ref().map(|record| record.at_start(&self.now(me)));
        match next {
            None | Some(AtStart::Serve) => self.agent = Some((me, self.installed)),
            Some(AtStart::ServeOnTrial) => panic!("the old program is never on trial"),
            Some(AtStart::Settle(phase)) => {
                self.set(phase);
                self.agent = Some((me, self.installed));
                self.step()?;
            }
            Some(AtStart::Launch) => {
                self.set(Phase::Trial { process: me });
                self.launches += 1;
                self.agent = Some((me, NEW));
                self.step()?;
                let record = self.record.as_ref().unwrap();
                assert_eq!(record.at_start(&self.now(me)), AtStart::ServeOnTrial);
                if self.case.program == Program::Ends {
                    self.agent = None;
                }
            }
        }
        Ok(())
    }

    fn serves(&self) -> bool {
        self.agent.is_some_and(|(_, file)| file == OLD || self.case.program == Program::Works)
    }

    /// The controller asks the agent.
    fn ask(&mut self) -> Result<Option<WhenAsked>, Died> {
        let Some((me, _)) = self.agent.filter(|_| self.has_controller && self.serves()) else {
            return Ok(None);
        };
        let Some(record) = &self.record else { return Ok(Some(WhenAsked::Unknown)) };
        assert_eq!(record.when_asked(ID, KeyId([9; 16]), &self.now(me)), WhenAsked::Unknown);
        let asked = record.when_asked(ID, OWNER, &self.now(me));
        if asked == WhenAsked::Commit {
            self.installed = NEW;
            self.step()?;
            self.set(Phase::Confirmed);
            self.step()?;
        }
        Ok(Some(asked))
    }

    fn guard(&mut self) -> Result<(), Died> {
        let Some(record) = self.record.clone().filter(|_| self.has_guard) else { return Ok(()) };
        let process = match record.phase {
            Phase::Trial { process } | Phase::Restored { process: Some(process), .. } => process,
            _ => Process { pid: -1, started: 0 },
        };
        let is_trial_alive = self.agent.is_some_and(|(agent, _)| agent == process);
        let is_served = self.serves();
        if is_served || is_trial_alive {
            self.absent_since = None;
        } else {
            self.absent_since.get_or_insert(self.ms);
        }
        let absent = self.absent_since.map_or(0, |since| self.ms - since);
        let me = Process { pid: 0, started: 0 };
        match record.guarding(&self.now(me), Seen { is_trial_alive, is_served, absent }) {
            Guarding::Wait => {}
            Guarding::Leave => self.has_guard = false,
            Guarding::End(process) => {
                assert!(self.agent.is_some_and(|(agent, file)| agent == process && file == NEW));
                self.agent = None;
            }
            Guarding::Settle(phase) => self.set(phase),
            Guarding::Start => self.start()?,
        }
        Ok(())
    }

    /// Lets everybody act, until nothing changes any more.
    fn run(mut self) -> Self {
        let _ = self.begin();
        for _ in 0..400 {
            self.ms += 250;
            let is_there = self.agent.is_some();
            // A service manager, or whoever starts agents after a reboot, is there at once.
            if !is_there && (self.case.has_manager || self.boot != BootId([0; 16])) {
                let _ = self.start();
            }
            let _ = self.guard();
            let _ = self.ask();
        }
        self
    }
}

fn record(host: &Host) -> Record {
    Record {
        format: FORMAT,
        id: ID,
        owner: OWNER,
        label: "alice@box".to_owned(),
        from: "0.1.0".to_owned(),
        to: "0.2.0".to_owned(),
        program: "/usr/local/bin/lariatd".into(),
        staged: NEW,
        boot: host.boot,
        since: host.ms,
        limit: LIMIT,
        phase: Phase::Checked,
        is_told: false,
    }
}

#[test]
fn whatever_dies_at_whatever_step_an_agent_serves_in_the_end() {
    use Fault::{AgentDies, ControllerDies, GuardDies, Nothing, Reboot};
    let mut seen = [0; 2];
    for program in [Program::Works, Program::Ends, Program::Hangs] {
        for fault in [Nothing, AgentDies, GuardDies, Reboot, ControllerDies] {
            for (after, has_manager) in (1..9).flat_map(|n| [(n, false), (n, true)]) {
                let case = Case { program, fault, after, has_manager };
                let host = Host::new(case).run();
                let guard_is_needed = program == Program::Hangs || !has_manager;
                let is_excused = match fault {
                    // Nobody is left to end a program that hangs, or to start another.
                    GuardDies => guard_is_needed,
                    // Nothing had begun, and nothing starts the agent but a person.
                    AgentDies => !has_manager && after == 1,
                    Nothing | ControllerDies | Reboot => false,
                };
                assert!(host.launches <= 1, "{case:?}");
                if is_excused {
                    continue;
                }
                assert!(host.serves(), "{case:?}: {:?}", host.record);
                let record = host.record.as_ref().unwrap();
                let (_, file) = host.agent.unwrap();
                assert_eq!(file, host.installed, "{case:?}: a restart would start another");
                assert!(record.is_over(), "{case:?}: {record:?}");
                assert_eq!(record.phase == Phase::Confirmed, file == NEW, "{case:?}: {record:?}");
                if program != Program::Works {
                    assert_eq!(file, OLD, "{case:?}");
                }
                if fault == Nothing {
                    assert_eq!(file == NEW, program == Program::Works, "{case:?}");
                }
                seen[usize::from(file == NEW)] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
}

#[test]
fn what_nobody_can_log_in_to_is_over_before_90_s() {
    for (program, has_manager) in [Program::Ends, Program::Hangs]
        .into_iter()
        .flat_map(|program| [(program, false), (program, true)])
    {
        let case = Case { program, fault: Fault::Nothing, after: 0, has_manager };
        let mut host = Host::new(case);
        let _ = host.begin();
        let began = host.ms;
        while !(host.serves() && host.record.as_ref().unwrap().is_over()) {
            host.ms += 200;
            if host.agent.is_none() && has_manager {
                let _ = host.start();
            }
            let _ = host.guard();
        }
        assert!(host.ms - began < 75_000, "{case:?}: {} ms", host.ms - began);
        let Phase::Restored { why, .. } = &host.record.as_ref().unwrap().phase else {
            panic!("it is not confirmed")
        };
        let said = if program == Program::Ends { "ended within 0." } else { "nobody could log in" };
        assert!(why.contains(said), "{why}");
    }
}

#[test]
fn only_the_key_that_asked_confirms_and_only_to_the_new_process() {
    let case = Case { program: Program::Works, fault: Fault::Nothing, after: 0, has_manager: true };
    let mut host = Host::new(case);
    let _ = host.begin();
    let (me, _) = host.agent.unwrap();
    let record = host.record.clone().unwrap();
    let asked = |id, owner, me| record.when_asked(id, owner, &host.now(me));
    assert_eq!(asked(ID, OWNER, me), WhenAsked::Commit);
    assert_eq!(asked(ID, KeyId([9; 16]), me), WhenAsked::Unknown);
    assert_eq!(asked(UpgradeId([9; 16]), OWNER, me), WhenAsked::Unknown);
    let other = Process { started: me.started + 1, ..me };
    assert_eq!(asked(ID, OWNER, other), WhenAsked::Waiting, "another process of the same number");
    let rebooted = Now { boot: BootId([7; 16]), ..host.now(me) };
    assert_eq!(record.when_asked(ID, OWNER, &rebooted), WhenAsked::Waiting);
    assert!(matches!(record.at_start(&rebooted), AtStart::Settle(Phase::Restored { .. })));
}

#[test]
fn a_record_comes_back_as_it_was() {
    let case = Case { program: Program::Works, fault: Fault::Nothing, after: 0, has_manager: true };
    let mut record = record(&Host::new(case));
    let process = Process { pid: 5, started: 6 };
    for phase in [
        Phase::Guarded,
        Phase::Trial { process },
        Phase::Confirmed,
        Phase::Restored { why: "x".to_owned(), process: Some(process) },
    ] {
        record.phase = phase;
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
    }
}
