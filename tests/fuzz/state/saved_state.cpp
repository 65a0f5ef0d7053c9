// Any bytes as each of the files that lbd keeps in state_dir: loaded as far as they are good, or refused with words, and what is
// loaded is within the limits of the model and is read again as it was written.
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/text.h"
#include "dataplane/ipvs_journal.h"
#include "dataplane/nft_state.h"
#include "dataplane/sysctls.h"
#include "model/check_limits.h"
#include "relay/fleet.h"
#include "state/departures.h"
#include "state/drains.h"
#include "state/json_codec.h"
#include "state/saved_verdicts.h"

namespace {

using namespace lb;

void require(bool truth) {
  if (!truth) std::abort();
}

// In memory where there is a place for that.
const std::filesystem::path& folder() {
  static const std::filesystem::path path = [] {
    const std::filesystem::path base =
        std::filesystem::exists("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
    const auto out = base / ("lbd-fuzz." + std::to_string(::getpid()));
    std::filesystem::create_directories(out);
    std::atexit([] { std::filesystem::remove_all(folder()); });
    return out;
  }();
  return path;
}

std::string file_with(std::string_view bytes) {
  const std::string path = folder() / "saved.json";
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

void check_snapshot(std::string_view text) {
  const auto loaded = decode_snapshot(text);
  if (!loaded) {
    require(!loaded.error().context.empty());
    return;
  }
  for (std::size_t i = 0; i < loaded->services.size(); ++i) {
    const Service& service = *loaded->services[i];
    require(i == 0 || loaded->services[i - 1]->key < service.key);
    if (service.check) require(check_limits::validate(*service.check).has_value());
    for (const Backend& backend : service.backends) require(backend.weight <= kMaxWeight);
  }
  const auto again = decode_snapshot(encode_snapshot(*loaded));
  require(again && again->services.size() == loaded->services.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Moment now{SysTime(std::chrono::milliseconds(1'700'000'000'000)), {}};
  check_snapshot(text);
  (void)decode_nft_state(std::string(text), "here");
  (void)Drains::open(file_with(text), now);
  (void)FleetOrders::open(file_with(text));
  (void)SavedVerdicts::open(file_with(text));
  (void)IpvsJournal::exists(file_with(text));
  (void)Sysctls::open(file_with(text), "/proc/sys");
  return 0;
}
