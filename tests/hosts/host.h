// Hosts of a test: machines with a network, a root and processes of their own, in Linux namespaces.
//
// A test's main() calls RunOnHosts(). It runs the tests in a world of their own (namespaces for the
// network, mounts and processes), in which the hosts are, and which ends with the test: nothing
// survives, whatever happens to it. Root is not needed where users may make namespaces. Where no
// namespaces can be made, the program says so, and the hosts are folders of this machine with
// addresses of its loopback interface.
//
//   world:  the test and its proxies, at WorldAddress(); a bridge to
//   host N: e0 at 10.77.0.N; /srv/NAME, the host's disk; /opt/longrun/bin; nothing else of ours
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun {

int RunOnHosts(int argc, char** argv);
bool HasNamespaces();
std::string WorldAddress();

class Host {
 public:
  struct Process {
    int pid = 0;  // in the world
    std::vector<std::string> words;
  };

  // `folder` is the test's. The disk has `disk_bytes`; without namespaces, it is a folder.
  Host(const std::string& folder, const std::string& name, int number, std::int64_t disk_bytes);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& name() const { return name_; }
  std::string address() const;
  std::string Program(const std::string& name) const;  // as the host sees it
  std::string Inside(const std::string& path) const;   // a path on its disk, as the host sees it
  std::string Outside(const std::string& path) const;  // the same file, as the test sees it

  Status PowerOn();
  void PowerOff();  // all processes die at once; the disk stays
  bool is_on() const { return init_ > 0 || (!HasNamespaces() && is_on_); }
  void Unplug();  // the cable: nothing arrives any more, and nobody is told
  void Plug();

  // A process of this host; `log` is a file of the test. Returns a pid to wait for, which is that
  // of the process itself only without namespaces.
  int Start(const std::vector<std::string>& argv, const std::vector<std::string>& env,
            const std::string& out, const std::string& err) const;
  std::vector<Process> Processes() const;
  // The process that runs this program of longrun (longrun-worker: the daemon, not its shims).
  std::vector<Process> Running(const std::string& program) const;
  std::vector<Process> Shims() const;

  Status FillDisk();  // not one byte is free
  void FreeDisk();

 private:
  const std::string folder_;
  const std::string name_;
  const int number_;
  bool is_on_ = false;
  int unshare_ = 0;  // the parent of the host's first process
  int init_ = 0;     // the host's first process
  int n_starts_ = 0;
};

// kill(), for the processes of a host.
void SendSignal(const std::vector<Host::Process>& processes, int signal);

}  // namespace longrun
