#include "ws_duplex.h"
