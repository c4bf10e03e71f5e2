#include "ring.h"

#include <algorithm>
#include <filesystem>

namespace hunch {

Ring::~Ring() { close(); }

void Ring::close() {
  if (!path_.empty()) {
    file_.close();
    std::error_code ignored;
    std::filesystem::remove(std::filesystem::u8path(path_), ignored);
  }
  path_.clear();
  entries_.clear();
  bytes_ = cursor_ = 0;
}

Status Ring::open(const std::string& path, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  close();
  if (!bytes) return Status::fine();
  file_.clear();
  file_.open(std::filesystem::u8path(path), std::ios::in | std::ios::out | std::ios::binary | std::ios::trunc);
  if (!file_) return Status::error("disk-full", "The file for activation records cannot be written: " + path + ". Free some disk space or check the folder's permissions.");
  path_ = path;
  bytes_ = bytes;
  return Status::fine();
}

void Ring::write(uint32_t sequence, const std::vector<uint8_t>& record) {
  std::lock_guard lock(mutex_);
  if (!bytes_ || record.size() > bytes_) return;
  if (cursor_ + record.size() > bytes_) {
    // What lies beyond would be met again only after another round: it goes first.
    while (!entries_.empty() && entries_.front().offset >= cursor_) entries_.pop_front();
    cursor_ = 0;
  }
  const uint64_t end = cursor_ + record.size();
  while (!entries_.empty() && entries_.front().offset < end && entries_.front().offset + entries_.front().size > cursor_) entries_.pop_front();
  file_.seekp((std::streamoff)cursor_);
  file_.write((const char*)record.data(), (std::streamsize)record.size());
  if (!file_) {  // the disk is full: the ring ends where it is
    file_.clear();
    bytes_ = std::max(cursor_, (uint64_t)1);
    return;
  }
  entries_.push_back({sequence, cursor_, record.size()});
  cursor_ = end;
}

bool Ring::read(uint32_t sequence, std::vector<uint8_t>& out) {
  std::lock_guard lock(mutex_);
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), sequence, [](const Entry& e, uint32_t s) { return e.sequence < s; });
  if (found == entries_.end() || found->sequence != sequence) return false;
  out.resize(found->size);
  file_.seekg((std::streamoff)found->offset);
  file_.read((char*)out.data(), (std::streamsize)out.size());
  if (file_) return true;
  file_.clear();
  return false;
}

}  // namespace hunch
