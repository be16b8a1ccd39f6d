package smpp

import "fmt"

// Status is the command_status of a response (section 5.1.3). Requests carry StatusOK.
// Providers add codes of their own, most of them from 0x400 up.
type Status uint32

// Statuses of SMPP 3.4, section 5.1.3, table 5-2. The comments name them as the specification does.
const (
	StatusOK                Status = 0x00000000 // ESME_ROK
	StatusInvMsgLen         Status = 0x00000001 // ESME_RINVMSGLEN
	StatusInvCmdLen         Status = 0x00000002 // ESME_RINVCMDLEN
	StatusInvCmdID          Status = 0x00000003 // ESME_RINVCMDID
	StatusInvBindStatus     Status = 0x00000004 // ESME_RINVBNDSTS
	StatusAlreadyBound      Status = 0x00000005 // ESME_RALYBND
	StatusInvPriority       Status = 0x00000006 // ESME_RINVPRTFLG
	StatusInvRegDelivery    Status = 0x00000007 // ESME_RINVREGDLVFLG
	StatusSysErr            Status = 0x00000008 // ESME_RSYSERR
	StatusInvSrcAddr        Status = 0x0000000A // ESME_RINVSRCADR
	StatusInvDstAddr        Status = 0x0000000B // ESME_RINVDSTADR
	StatusInvMsgID          Status = 0x0000000C // ESME_RINVMSGID
	StatusBindFailed        Status = 0x0000000D // ESME_RBINDFAIL
	StatusInvPassword       Status = 0x0000000E // ESME_RINVPASWD
	StatusInvSystemID       Status = 0x0000000F // ESME_RINVSYSID
	StatusCancelFailed      Status = 0x00000011 // ESME_RCANCELFAIL
	StatusReplaceFailed     Status = 0x00000013 // ESME_RREPLACEFAIL
	StatusQueueFull         Status = 0x00000014 // ESME_RMSGQFUL
	StatusInvServiceType    Status = 0x00000015 // ESME_RINVSERTYP
	StatusInvNumDests       Status = 0x00000033 // ESME_RINVNUMDESTS
	StatusInvDistList       Status = 0x00000034 // ESME_RINVDLNAME
	StatusInvDestFlag       Status = 0x00000040 // ESME_RINVDESTFLAG
	StatusInvSubmitReplace  Status = 0x00000042 // ESME_RINVSUBREP
	StatusInvESMClass       Status = 0x00000043 // ESME_RINVESMCLASS
	StatusCantSubmitList    Status = 0x00000044 // ESME_RCNTSUBDL
	StatusSubmitFailed      Status = 0x00000045 // ESME_RSUBMITFAIL
	StatusInvSrcTON         Status = 0x00000048 // ESME_RINVSRCTON
	StatusInvSrcNPI         Status = 0x00000049 // ESME_RINVSRCNPI
	StatusInvDstTON         Status = 0x00000050 // ESME_RINVDSTTON
	StatusInvDstNPI         Status = 0x00000051 // ESME_RINVDSTNPI
	StatusInvSystemType     Status = 0x00000053 // ESME_RINVSYSTYP
	StatusInvReplaceFlag    Status = 0x00000054 // ESME_RINVREPFLAG
	StatusInvNumMessages    Status = 0x00000055 // ESME_RINVNUMMSGS
	StatusThrottled         Status = 0x00000058 // ESME_RTHROTTLED
	StatusInvSchedule       Status = 0x00000061 // ESME_RINVSCHED
	StatusInvExpiry         Status = 0x00000062 // ESME_RINVEXPIRY
	StatusInvDefaultMsgID   Status = 0x00000063 // ESME_RINVDFTMSGID
	StatusTemporaryAppError Status = 0x00000064 // ESME_RX_T_APPN: the receiver asks for a repeat
	StatusPermanentAppError Status = 0x00000065 // ESME_RX_P_APPN
	StatusRejectMessage     Status = 0x00000066 // ESME_RX_R_APPN
	StatusQueryFailed       Status = 0x00000067 // ESME_RQUERYFAIL
	StatusInvOptStream      Status = 0x000000C0 // ESME_RINVOPTPARSTREAM
	StatusOptNotAllowed     Status = 0x000000C1 // ESME_ROPTPARNOTALLWD
	StatusInvParamLen       Status = 0x000000C2 // ESME_RINVPARLEN
	StatusMissingOptParam   Status = 0x000000C3 // ESME_RMISSINGOPTPARAM
	StatusInvOptParamValue  Status = 0x000000C4 // ESME_RINVOPTPARAMVAL
	StatusDeliveryFailure   Status = 0x000000FE // ESME_RDELIVERYFAILURE
	StatusUnknownError      Status = 0x000000FF // ESME_RUNKNOWNERR
)

// NoAnswer is not on the wire: a handler that returns it sends no response at all. It is there
// for SMSC simulators that try out what a client does then.
const NoAnswer Status = 0xFFFFFFFF

// String is the name of the specification, e.g. "ESME_RTHROTTLED", or the number in hexadecimal.
func (s Status) String() string {
	if name, ok := statusNames[s]; ok {
		return name
	}
	return fmt.Sprintf("status 0x%08x", uint32(s))
}

// Known tells whether SMPP 3.4 defines s; other codes mean what the provider says they mean.
func (s Status) Known() bool {
	_, ok := statusNames[s]
	return ok
}
