// What a later phase will read, for products to ask memory for while they multiply.
//
// From some rows on a product waits for arithmetic and attention for memory. Keys and values are
// therefore asked for during the products before, a range with each tile, and lie in a cache when
// attention comes to them. Only hints: what is asked for changes no result.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace chatsite {

constexpr int64_t LINE = 64;  // bytes that memory sends at once

struct PrefetchRange {  // so many lines from `at` on
  const uint8_t* at = nullptr;
  int64_t lines = 0;
};

// The pages that one layer's attention will read, cut into stretches that go out once each.
class Prefetcher {
 public:
  // `pages` are numbers of pages of `page_bytes`, in both of two arrays. A range has at most
  // `most_lines`.
  Prefetcher(const std::vector<int32_t>& pages, const void* keys, const void* values,
             int64_t page_bytes, int64_t most_lines)
      : pages_(pages),
        keys_(static_cast<const uint8_t*>(keys)),
        values_(static_cast<const uint8_t*>(values)),
        page_bytes_(page_bytes),
        per_page_((page_bytes / LINE + most_lines - 1) / most_lines),
        count_(2 * per_page_ * int64_t(pages.size())) {}

  // The first of `count` stretches that nobody else gets. Any thread may call this.
  int64_t reserve(int64_t count) {
    if (next_.load(std::memory_order_relaxed) >= count_) return count_;
    return next_.fetch_add(count, std::memory_order_relaxed);
  }

  PrefetchRange range(int64_t i) const {
    if (i >= count_) return {};
    const int64_t page = i / (2 * per_page_), part = i % (2 * per_page_),
                  lines = page_bytes_ / LINE / per_page_;
    const uint8_t* base = part < per_page_ ? keys_ : values_;
    return {base + pages_[page] * page_bytes_ + part % per_page_ * lines * LINE, lines};
  }

 private:
  const std::vector<int32_t>& pages_;
  const uint8_t *keys_, *values_;
  const int64_t page_bytes_, per_page_, count_;
  std::atomic<int64_t> next_{0};
};

}  // namespace chatsite
