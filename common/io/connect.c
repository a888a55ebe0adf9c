#include "connect.h"
