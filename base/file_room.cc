// See file_room.h.
#include "base/file_room.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/str.h"

namespace longrun {

Status CheckFileRoom(int n_files, std::string_view who) {
  std::vector<int> opened;
  int error_number = 0;
  while (error_number == 0 && std::ssize(opened) < n_files) {
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      error_number = errno;
    } else {
      opened.push_back(fd);
    }
  }
  for (const int fd : opened) close(fd);
  if (error_number == 0) return Status();
  return ErrnoStatus(error_number, Str(who, " needs up to ", n_files,
                                       " more open files and has room for ", opened.size()));
}

}  // namespace longrun
