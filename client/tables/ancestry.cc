#include "client/tables/ancestry.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace longrun::client {
namespace {

Json WithoutLinks(Json run) {
  for (const AncestorLink& link : AncestorLinks()) {
    if (!run.contains(link.at)) continue;
    const Json::json_pointer holder = link.at.parent_pointer();
    run.at(holder).erase(link.at.back());
    if (!holder.empty() && run.at(holder).empty()) run.erase(holder.back());
  }
  return run;
}

// The values of `a` that are not those of `own`; null where only `own` has one.
Json Unlike(const Json& a, const Json& own) {
  Json out = Json::object();
  std::set<std::string> keys;
  for (const Json* side : {&a, &own}) {
    for (const auto& [key, value] : side->items()) keys.insert(key);
  }
  for (const std::string& key : keys) {
    const auto there = a.find(key), here = own.find(key);
    if (there == a.end()) {
      out[key] = nullptr;
    } else if (here == own.end()) {
      out[key] = *there;
    } else if (there->is_object() && here->is_object()) {
      if (Json inner = Unlike(*there, *here); !inner.empty()) out[key] = std::move(inner);
    } else if (*there != *here) {
      out[key] = *there;
    }
  }
  return out;
}

void DropDerived(Json& run) {
  const Json::json_pointer at("/train/optimizer");
  if (!run.contains(at)) return;
  Json& optimizer = run[at];
  const double lr = optimizer.value("lr", 0.0), min_lr = optimizer.value("min_lr", -1.0);
  // The tenth that the sweep language takes may differ from ours in its last digit.
  if (std::abs(min_lr - lr / 10) <= 1e-12 * lr) optimizer.erase("min_lr");
}

// Puts the ancestors of `from` into `to`, each with what is unlike `own`.
void PutUnlike(const Json& from, const Json& own, Json& to) {
  for (const AncestorLink& link : AncestorLinks()) {
    if (!from.contains(link.at)) continue;
    const Json& ancestor = from.at(link.at);
    if (!ancestor.is_object()) {
      to[link.at] = ancestor;
      continue;
    }
    Json plain = WithoutLinks(ancestor);
    DropDerived(plain);
    Json unlike = Unlike(plain, own);
    PutUnlike(ancestor, own, unlike);
    to[link.at] = std::move(unlike);
  }
}

}  // namespace

const std::vector<AncestorLink>& AncestorLinks() {
  static const std::vector<AncestorLink> links = {
      {.path = "parent", .axis = "train.continue_from", .at = "/parent"_json_pointer},
      {.path = "init.run", .axis = "model.init_from", .at = "/init/run"_json_pointer}};
  return links;
}

const AncestorLink* FindAncestorLink(std::string_view axis) {
  for (const AncestorLink& link : AncestorLinks()) {
    if (axis == link.path || axis == link.axis) return &link;
  }
  return nullptr;
}

bool HasAncestor(const Json& resolved) {
  return std::ranges::any_of(AncestorLinks(), [&](const AncestorLink& link) {
    return resolved.is_object() && resolved.contains(link.at);
  });
}

const Ancestry* AncestryFinder::Find(const std::string& run_key) {
  if (const auto found = found_.find(run_key); found != found_.end()) return &found->second;
  const auto run = runs_.find(run_key);
  if (run == runs_.end()) return nullptr;
  Ancestry ancestry = Of(*run->second);
  return &found_.emplace(run_key, std::move(ancestry)).first->second;
}

Ancestry AncestryFinder::Of(const Json& resolved) {
  Ancestry ancestry{.run = resolved};
  ancestry.run.erase("seed");
  for (const AncestorLink& link : AncestorLinks()) {
    if (!resolved.contains(link.at) || !resolved.at(link.at).is_string()) continue;
    const auto key = resolved.at(link.at).get<std::string>();
    const Ancestry* const ancestor = Find(key);
    if (ancestor == nullptr) {
      ancestry.unknown.push_back(key);
      continue;
    }
    ancestry.run[link.at] = ancestor->run;
    ancestry.seeds.push_back(runs_.at(key)->value("seed", Json()));
    ancestry.seeds.insert(ancestry.seeds.end(), ancestor->seeds.begin(), ancestor->seeds.end());
    ancestry.unknown.insert(ancestry.unknown.end(), ancestor->unknown.begin(),
                            ancestor->unknown.end());
  }
  return ancestry;
}

Json WithoutInherited(const Json& run) {
  Json own = WithoutLinks(run);
  DropDerived(own);
  Json out = own;
  PutUnlike(run, own, out);
  return out;
}

}  // namespace longrun::client
