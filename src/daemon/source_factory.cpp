#include "daemon/source_factory.h"

#include <array>

namespace lb {
namespace {

// One overload per type, so that std::visit finds the one that was forgotten.
class Maker {
 public:
  Maker(const SourceContext& context, std::optional<Snapshot> saved)
      : context_(context), saved_(std::move(saved)) {}

  std::unique_ptr<Source> operator()(const FileSourceConfig& config) {
    return std::make_unique<FileSource>(context_.io, config, std::move(saved_));
  }
  std::unique_ptr<Source> operator()(const EtcdSourceConfig& config) {
    return std::make_unique<EtcdSource>(context_.io, config, std::move(saved_), context_.clocks);
  }
  std::unique_ptr<Source> operator()(const MarathonSourceConfig& config) {
    return std::make_unique<MarathonSource>(context_.io, config, std::move(saved_),
                                            context_.clocks);
  }
  std::unique_ptr<Source> operator()(const RelaySourceConfig& config) {
    return std::make_unique<RelaySource>(context_.io, config, std::move(saved_), context_.orders,
                                         context_.orders_changed, context_.node, LB_VERSION,
                                         context_.clocks);
  }

 private:
  const SourceContext& context_;
  std::optional<Snapshot> saved_;
};

}  // namespace

std::unique_ptr<Source> make_source(const SourceContext& context, const SourceConfig& config,
                                    std::optional<Snapshot> saved) {
  return std::visit(Maker(context, std::move(saved)), config.settings);
}

std::string type_of(const SourceConfig& config) {
  constexpr std::array<const char*, 4> kTypes{"file", "etcd", "marathon", "relay"};
  return kTypes.at(config.settings.index());
}

}  // namespace lb
