#include "half_close.h"
