#include "cause.h"
