// A team of threads that stays together for a whole step of the model.
//
// A step has some three hundred small phases; opening a parallel region for each costs more than
// many of them take. So one region spans the step, every thread walks through the same code, and
// each phase is a `for_each` or, for items of one size, a `for_runs`. Items go to whoever asks
// next, in runs: long ones first, single ones at the end, so that asking (which moves a line
// between cores) is rare and all are still done together. A phase is over when its items are done,
// not when all threads have come: one that isn't running, because its core is busy with something
// else, takes no items and is not waited for. When it comes back it walks past the phases that are
// over. Which thread does an item never changes its result.
#pragma once
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "simd/simd.h"

namespace chatsite {

class ThreadTeam {
 public:
  explicit ThreadTeam(int size) : size_(size) {}
  int size() const { return size_; }

 private:
  friend class Lane;
  const int size_;
  // The current phase (upper half) and its next item (lower half), in one word, so that nobody can
  // take an item of a phase that is over.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> done_{0};    // items of the current phase
  alignas(64) std::atomic<uint32_t> phase_{0};  // for those who sleep until it moves
};

// One thread's place in a team. All lanes of a team make the same calls in the same order.
// Between two calls a lane may be late: what others need must happen inside an item.
class Lane {
 public:
  Lane(ThreadTeam& team) : team_(team) {}
  int team_size() const { return team_.size_; }

  // Call `work(i)` for i in 0..count-1, each once, spread over the team. On return all are done and
  // what they wrote is visible.
  template <class Work> void for_each(int64_t count, Work&& work) {
    phase(
        count, [&](int64_t left) { return first_run(left / 2); },
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) work(i);
        });
  }

  // The same, as `work(i, next)`: `next` is what this thread will probably do then; `count` if
  // nothing.
  template <class Work> void for_each_next(int64_t count, Work&& work) {
    phase(
        count, [&](int64_t left) { return first_run(left / 2); },
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) work(i, i + 1 < end ? i + 1 : next_item(count));
        });
  }

  // The same for items of one size, as `work(i, next)`: `next` is what this thread will probably do
  // then. From `count` on it means the first (count) or second (count + 1) run of a later phase.
  template <class Work> void for_runs(int64_t count, Work&& work) {
    phase(
        count, [&](int64_t left) { return first_run(left); },
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++)
            work(i, i + 1 < end ? i + 1 : i + 1 == count ? count + 1 : next_item(count));
        });
  }

  // How many of `left` items the next run takes.
  int64_t first_run(int64_t left) const { return std::max<int64_t>(1, left / team_.size_); }

  // Call `work` once.
  template <class Work> void once(Work&& work) {
    for_each(1, [&](int64_t) { work(); });
  }

 private:
  template <class Run, class Work> void phase(int64_t count, Run&& run, Work&& work) {
    if (team_.size_ == 1) return work(0, count);
    if (count == 0) return;
    const uint64_t phase = phase_++;
    uint64_t ticket = team_.ticket_.load(std::memory_order_acquire);
    while (ticket >> 32 == phase) {
      const int64_t begin = int64_t(ticket & 0xffffffff);
      if (begin >= count) return wait(phase);
      const int64_t taken = run(count - begin);
      if (!team_.ticket_.compare_exchange_weak(ticket, ticket + taken, std::memory_order_acq_rel))
        continue;
      work(begin, begin + taken);
      if (team_.done_.fetch_add(taken, std::memory_order_acq_rel) + taken == count)
        return finish(phase);
      ticket = team_.ticket_.load(std::memory_order_acquire);
    }
  }

  // The item that would be handed out now; `count` when there is none left. `phase_` is one ahead.
  int64_t next_item(int64_t count) const {
    if (team_.size_ == 1) return count;
    const uint64_t ticket = team_.ticket_.load(std::memory_order_relaxed);
    return ticket >> 32 == phase_ - 1 ? std::min<int64_t>(ticket & 0xffffffff, count) : count;
  }

  void finish(uint64_t phase) {
    team_.done_.store(0, std::memory_order_relaxed);
    team_.ticket_.store((phase + 1) << 32, std::memory_order_release);
    team_.phase_.store(uint32_t(phase + 1), std::memory_order_release);
    team_.phase_.notify_all();
  }

  void wait(uint64_t phase) {
    for (int spins = 0; spins < SPINS; spins++) {
      if (team_.ticket_.load(std::memory_order_acquire) >> 32 != phase) return;
      spin_pause();
    }
    // The others are slow, or not running at all: sleep, which also brings us back sooner.
    while (team_.ticket_.load(std::memory_order_acquire) >> 32 == phase)
      team_.phase_.wait(uint32_t(phase), std::memory_order_acquire);
  }

  static constexpr int SPINS = 4000;  // some fifty microseconds
  ThreadTeam& team_;
  uint64_t phase_ = 0;
};

// Run `body(lane)` on every thread of a team of up to `size`, in the pool that torch itself uses.
template <class Body> void run_team(int size, Body&& body) {
  if (size == 1) {
    ThreadTeam team(1);
    Lane lane(team);
    body(lane);
    return;
  }
  std::optional<ThreadTeam> team;
#pragma omp parallel num_threads(size)
  {
#pragma omp single
    team.emplace(omp_get_num_threads());  // maybe fewer than asked for
    Lane lane(*team);
    body(lane);
  }
}

}  // namespace chatsite
