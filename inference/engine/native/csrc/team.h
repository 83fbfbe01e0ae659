// A team of threads that stays together for a whole step of the model.
//
// A step has some three hundred small phases; opening a parallel region for each costs more than
// many of them take. So one region spans the step, every thread runs the same code, and phases are
// divided by `for_each`: threads take the next item when they are done with theirs (a core that is
// busy elsewhere just takes fewer), then meet at a barrier. Which thread does an item never changes
// its result.
#pragma once
#include <immintrin.h>
#include <omp.h>
#include <sched.h>

#include <atomic>
#include <cstdint>

namespace chatsite {

class Team {
 public:
  explicit Team(int size) : size_(size) {}
  int size() const { return size_; }

 private:
  friend class Worker;
  static constexpr int SLOTS = 4;
  struct alignas(64) Counter {
    std::atomic<int64_t> next{0};
  };

  const int size_;
  Counter counters_[SLOTS];  // who takes what in the current phase; phases rotate through them
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
};

// One thread's place in a team. All workers of a team must make the same calls in the same order.
class Worker {
 public:
  Worker(Team& team, int index) : team_(team), index_(index) {}
  int index() const { return index_; }
  int team_size() const { return team_.size_; }

  // Wait until every worker is here; what they wrote before is then visible to all.
  void barrier() {
    const int here = phase_++;
    if (team_.size_ == 1) {
      team_.counters_[here % Team::SLOTS].next.store(0, std::memory_order_relaxed);
      return;
    }
    const uint32_t generation = team_.generation_.load(std::memory_order_acquire);
    if (team_.arrived_.fetch_add(1, std::memory_order_acq_rel) == team_.size_ - 1) {
      team_.arrived_.store(0, std::memory_order_relaxed);
      // Nobody is left in this phase, and nobody has entered the one that will use this counter.
      team_.counters_[here % Team::SLOTS].next.store(0, std::memory_order_relaxed);
      team_.generation_.store(generation + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; team_.generation_.load(std::memory_order_acquire) == generation; spins++) {
      if (spins < SPINS)
        _mm_pause();
      else
        sched_yield();  // the machine is busy: let who we wait for run
    }
  }

  // Call `work(i)` for i in 0..count-1, each once, spread over the team; then meet at a barrier.
  // Worker w begins with item w, so that it can fetch what that needs ahead of time.
  template <class Work>
  void for_each(int64_t count, Work&& work) {
    std::atomic<int64_t>& next = team_.counters_[phase_ % Team::SLOTS].next;
    if (team_.size_ == 1) {
      for (int64_t i = 0; i < count; i++) work(i);
    } else {
      for (int64_t i = index_; i < count; i = team_.size_ + next.fetch_add(1, std::memory_order_relaxed)) work(i);
    }
    barrier();
  }

 private:
  static constexpr int SPINS = 2000;  // some twenty microseconds
  Team& team_;
  const int index_;
  int phase_ = 0;
};

// Run `body(worker)` on every thread of a team of up to `size`, in the pool that torch itself uses.
template <class Body>
void run_team(int size, Body&& body) {
  if (size == 1) {
    Team team(1);
    Worker worker(team, 0);
    body(worker);
    return;
  }
  Team* team = nullptr;
#pragma omp parallel num_threads(size)
  {
#pragma omp single
    team = new Team(omp_get_num_threads());  // maybe fewer than asked for
    Worker worker(*team, omp_get_thread_num());
    body(worker);
  }
  delete team;
}

}  // namespace chatsite
