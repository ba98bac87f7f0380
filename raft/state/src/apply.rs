//! One command, applied: which file's step it is.
//!
//! Each step has its family's file: songs, separations, jobs, tasks, and so on. Steps take the state as a
//! [`Transaction`], and come to an answer or a refusal.

use uuid::Uuid;

use super::accounts::{Changed, NewToken, Newcomer, Opening};
use super::hook::NewHook;
use super::job::Wanted;
use super::mark::ACCOUNTS;
use super::once::{Wish, once};
use super::song::NewSong;
use super::task::Claim;
use super::transaction::{Applied, refuse};
use super::{
    Read, Road, Selection, Transaction, accounts, hook, job, keys, listening, model, outside, playlist, raise,
    remembered, separation, sharing, song, task, tries,
};
use crate::command::{Answer, Command, Refusal};

/// Applies the `place`-th request of log entry `index`: a request that was applied before gets the same answer again
/// and changes nothing.
pub fn apply(state: &mut Transaction, request: &Uuid, command: &Command, index: u64, place: u32) -> Applied<Answer> {
    if let Some(answer) = remembered::answer(state, request)? {
        return Ok(answer);
    }
    let answer = run(state, command)?;
    remembered::keep(state, request, &answer, index, place)?;
    Ok(answer)
}

fn run(state: &mut Transaction, command: &Command) -> Applied<Answer> {
    match command {
        Command::AddSong {
            title,
            hash,
            size,
            format,
            uploader_id,
            credits,
            plan,
            model,
            formats,
            max_attempts,
            priority,
            owner,
            jobs_per_owner,
            road,
            at,
        } => {
            let job = Wanted {
                plan: *plan,
                model,
                formats,
                selection: &Selection::All,
                max_attempts: *max_attempts,
                priority: *priority,
                owner,
                jobs_per_owner: *jobs_per_owner,
                road: *road,
            };
            let new = NewSong { title, hash: *hash, size: *size, format, uploader_id: *uploader_id, credits, job };
            song::add(state, &new, *at)
        }
        Command::RemoveSong { song, .. } => song::remove(state, *song),
        Command::CancelJob { job, asker, at } => job::cancel(state, *job, *asker, *at),
        Command::RetryJob { job, jobs_per_owner, at } => job::retry(state, *job, *jobs_per_owner, *at),
        Command::SetPriority { job, priority, asker } => job::set_priority(state, *job, *priority, *asker),
        Command::SendOutside { job } => outside::send(state, *job),
        Command::TakeInside { job } => outside::take_back(state, *job),
        Command::FinishOutside { job, stems, at } => outside::finish(state, *job, stems, *at),
        Command::ClaimTask { task, attempt, node, at } => {
            task::claim(state, Claim { task: *task, attempt: *attempt, node: *node }, *at)
        }
        Command::FinishTask { task, attempt, node, output, lines, at } => {
            task::finish(state, Claim { task: *task, attempt: *attempt, node: *node }, output, lines, *at)
        }
        Command::FailTask { task, attempt, node, reason, lines, at } => {
            task::fail(state, Claim { task: *task, attempt: *attempt, node: *node }, reason, lines, *at)
        }
        Command::ReleaseTask { task, attempt, node, lines, at } => {
            task::release(state, Claim { task: *task, attempt: *attempt, node: *node }, lines, *at)
        }
        Command::ExpireTask { task, attempt, reason, at } => task::expire(state, *task, *attempt, reason, *at),
        Command::ReopenTask { task, reason, at } => task::reopen(state, *task, reason, *at),
        Command::AddModel { model } => model::add(state, model),
        Command::RemoveModel { name } => model::remove(state, name),
        Command::SetLevel { level, cluster } => raise::raise(state, *level, *cluster),
        Command::RetireNode { node } => {
            state.put(keys::retired(*node), node)?;
            Ok(Ok(Answer::Done))
        }
        // All that follows came with the accounts.
        _ if !state.has_level(ACCOUNTS)? => refuse!(Refusal::NoAccounts),
        Command::Once { key, owner, content, until, add, at } => {
            let wish = Wish { key, owner, content, until: *until };
            once(state, &wish, *at, |state| run(state, add))
        }
        Command::ChangeSong { song, asker, edit } => song::change(state, *song, *asker, edit),
        Command::Separate {
            song,
            asker,
            plan,
            model,
            formats,
            selection,
            max_attempts,
            priority,
            owner,
            jobs_per_owner,
            at,
        } => {
            let wanted = Wanted {
                plan: *plan,
                model,
                formats,
                selection,
                max_attempts: *max_attempts,
                priority: *priority,
                owner,
                jobs_per_owner: *jobs_per_owner,
                road: Road::Inside,
            };
            separation::separate(state, *song, *asker, &wanted, *at)
        }
        Command::DropSeparation { song, asker, job } => separation::drop(state, *song, *asker, *job),
        Command::Register { name, email, password, closed, at } => {
            accounts::register(state, &Newcomer { name, email: email.as_ref(), password }, *closed, *at)
        }
        Command::ChangeUser { user, name, email, password, old_password, administrator, keep } => {
            let changed = Changed {
                name: name.as_ref(),
                email: email.as_ref(),
                password: password.as_ref(),
                old_password: old_password.as_ref(),
                administrator: *administrator,
                keep: *keep,
            };
            accounts::change(state, *user, &changed)
        }
        Command::RemoveUser { user, songs } => accounts::remove(state, *user, *songs),
        Command::CountTry { counts, at } => tries::count(state, counts, *at),
        Command::OpenSession { secret, user, password, seen, expires_at, clears, at } => {
            let opening = Opening { secret, user: *user, password, seen, expires_at: *expires_at, clears };
            accounts::open(state, &opening, *at)
        }
        Command::EndSession { user, session } => accounts::end(state, *user, *session),
        Command::EndSessionsOf { user, keep } => {
            accounts::end_all(state, *user, *keep)?;
            Ok(Ok(Answer::Done))
        }
        Command::MakeToken { secret, sealed, user, name, expires_at, at } => {
            let new = NewToken { secret, sealed, user: *user, name, expires_at: *expires_at };
            accounts::make_token(state, &new, *at)
        }
        Command::RevokeToken { user, token } => accounts::revoke(state, *user, *token),
        Command::ShareSong { song, owner, audience } => sharing::share(state, *song, *owner, *audience),
        Command::UnshareSong { song, audience } => sharing::unshare(state, *song, *audience),
        Command::MakeLink { secret, song, expires_at, at } => {
            sharing::make_link(state, secret, *song, *expires_at, *at)
        }
        Command::RemoveLink { song, link } => sharing::unlink(state, *song, *link),
        Command::MakeHook { user, url, events, sealed, at } => {
            hook::make(state, &NewHook { user: *user, url, events, sealed }, *at)
        }
        Command::ChangeHook { user, hook, url, events, active } => {
            let changed = hook::Changed { url: url.as_ref(), events: events.as_ref(), active: *active };
            hook::change(state, *user, *hook, &changed)
        }
        Command::RemoveHook { user, hook } => hook::remove(state, *user, *hook),
        Command::NoteDelivery { hook, delivery, number, tried, made } => {
            hook::note(state, (*hook, *delivery), *number, *tried, made)
        }
        Command::MakePlaylist { owner, name, description, at } => playlist::make(state, *owner, name, description, *at),
        Command::ChangePlaylist { playlist, name, description, at } => {
            playlist::change(state, *playlist, name.as_ref(), description.as_ref(), *at)
        }
        Command::RemovePlaylist { playlist } => playlist::remove(state, *playlist),
        Command::AddToPlaylist { playlist, songs, place, without, at } => {
            playlist::add(state, *playlist, &playlist::Change { songs, place: *place, without }, *at)
        }
        Command::TakeFromPlaylist { playlist, entry, at } => playlist::take(state, *playlist, *entry, *at),
        Command::OrderPlaylist { playlist, entries, at } => playlist::order(state, *playlist, entries, *at),
        Command::SharePlaylist { playlist, audience } => playlist::share(state, *playlist, *audience),
        Command::UnsharePlaylist { playlist, audience } => playlist::unshare(state, *playlist, *audience),
        Command::SetFavourite { user, song, favourite } => listening::favour(state, *user, *song, *favourite),
        Command::CountPlay { song, user, count, at } => listening::play(state, *song, *user, count, *at),
    }
}
